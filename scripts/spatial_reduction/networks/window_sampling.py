"""Windows around sampled pixels, equally many of each class: what a classifier of the centre pixel is trained on."""

import torch

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.networks.mirror_padding import reflected

Positions = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # image, row, column, each int64 (n,)


def draw_balanced(labels: torch.Tensor, count: int) -> Positions:
    """Draw `count` labelled pixels with replacement, equally many of each class that is there.

    What does not divide goes to the first classes, one each. Without a labelled pixel nothing is sampled. The samples
    come from PyTorch's global generator of the labels' device.

    Args:
        labels: uint8 (N, H, W), 255 is ignored.

    Returns:
        Image, row and column of each pixel, grouped by class.
    """
    flat = labels.flatten()
    classes = [value for value in flat.unique().tolist() if value != IGNORED]
    drawn = []
    for place, value in enumerate(classes):
        share = (count + len(classes) - 1 - place) // len(classes)
        of_class = (flat == value).nonzero().flatten()
        drawn.append(of_class[torch.randint(len(of_class), (share,), device=labels.device)])
    chosen = torch.cat(drawn) if drawn else flat.new_empty(0, dtype=torch.int64)
    height, width = labels.shape[1:]
    return chosen // (height * width), chosen // width % height, chosen % width


def cut_windows(
    images: torch.Tensor, image: torch.Tensor, row: torch.Tensor, column: torch.Tensor, side: int
) -> torch.Tensor:
    """Return windows (n, C, side, side) around n pixels of images (N, C, H, W), mirrored at borders; side is odd."""
    height, width = images.shape[2:]
    offsets = torch.arange(side, device=images.device)
    rows = reflected(height, side // 2, side // 2, images.device)[row[:, None] + offsets]  # (n, side)
    columns = reflected(width, side // 2, side // 2, images.device)[column[:, None] + offsets]
    cut = images.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)
