"""The number that attributions explain: how strongly a model asserts the classes of interest in an image."""

from collections.abc import Sequence

import torch
from torch import nn

from spatial_reduction.networks.base import Network


class LogitsOfInterest(nn.Module):
    """Maps images to the sum, per image, of the winning logits of the pixels predicted as a class of interest.

    This is the target of Seg-Grad-CAM (Vinogradova, Dibrov, Myers 2020, arXiv 2002.11434), the sum of a class's logits
    over the pixels of that class, added up over the classes of interest.
    """

    def __init__(self, network: Network, classes_of_interest: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.classes_of_interest = list(classes_of_interest)

    def forward(self, images: torch.Tensor, chosen: torch.Tensor | None = None) -> torch.Tensor:
        """Map images float (n, C, H, W) to (n,).

        Args:
            chosen: bool (n, classes, H, W), which logits to add up; by default those that `choose` finds now. To fix
                them makes the sum a continuous function of the image.
        """
        logits = self.network(images)
        chosen = self.find(logits) if chosen is None else chosen
        return torch.where(chosen, logits, 0).sum(dim=(1, 2, 3))

    def choose(self, images: torch.Tensor) -> torch.Tensor:
        """Return which logits are the highest of their pixel and of a class of interest, bool (n, classes, H, W)."""
        with torch.no_grad():
            return self.find(self.network(images))

    def find(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the same for logits (n, classes, H, W)."""
        winners = logits.argmax(dim=1, keepdim=True)
        chosen = torch.zeros_like(logits, dtype=torch.bool)
        for index in self.classes_of_interest:
            chosen[:, index] = winners[:, 0] == index
        return chosen
