"""What every network offers to training, saliency and evaluation."""

from typing import Any

import torch
from torch import nn


class Network(nn.Module):
    """Maps images float (N, C, H, W) in [0, 1] to logits (N, classes, H, W).

    Attributes:
        architecture: what `model.build_network` needs to build it again, plain JSON.
        stride: by which H and W must be divisible.
    """

    architecture: dict[str, Any]
    stride: int

    @property
    def deepest(self) -> nn.Module:
        """Return the module whose output are the deepest features, (N, channels, h, w), for class activation maps."""
        raise NotImplementedError

    def training_pass(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        windows: int,  # noqa: ARG002  (of networks that do not train on whole images)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits (N, classes, ...) and the labels (N, ...) that a training step compares.

        Args:
            images: float (N, C, H, W) in [0, 1].
            labels: uint8 (N, H, W), 255 is ignored.
            windows: that a network which trains on windows draws per image.
        """
        return self(images), labels
