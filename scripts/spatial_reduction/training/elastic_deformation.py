"""Shifted, rotated and elastically deformed batches: where each pixel comes from, and its value there.

After Ronneberger, Fischer, Brox: U-Net (MICCAI 2015, arXiv 1505.04597), section 3.1. What lies outside of an image is
its mirror image (the pixel at the edge stands once), so no pixel is black or ignored.
"""

import math
from collections.abc import Collection, Sequence

import torch
from torch.nn import functional

NODES = 3  # the grid of random displacements is 3 x 3, as in the paper: corners, middles of the sides, centre
DISPLACEMENT = 10 / 512  # their standard deviation, of the side: the paper's 10 pixels in its images of 512 x 512
SHIFT = 1 / 16  # of the side, at most, along each axis; the paper gives no number


def draw_sources(names: Collection[str], count: int, shape: Sequence[int], side: int) -> torch.Tensor:
    """Draw, for each of `count` images, where its pixels come from; see `sources_of`. From PyTorch's global generator.

    Args:
        names: which of `shift` (uniform, up to 1/16 of `side`), `rotate` (any angle) and `grid_elastic` (normal,
            standard deviation 10 pixels per 512 of `side`).
        shape: (H, W).
        side: of whole images, which `shape` may be a part of.
    """
    shifts = (2 * torch.rand(count, 2) - 1) * SHIFT * side if "shift" in names else torch.zeros(count, 2)
    angles = 2 * math.pi * torch.rand(count) if "rotate" in names else torch.zeros(count)
    nodes = torch.zeros(count, 2, NODES, NODES)
    if "grid_elastic" in names:
        nodes = torch.randn(count, 2, NODES, NODES) * DISPLACEMENT * side
    return sources_of(shape, shifts, angles, nodes)


def sources_of(shape: Sequence[int], shifts: torch.Tensor, angles: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
    """Return the place, in pixels from the centre of the image, from which each pixel takes its value.

    Args:
        shape: (H, W).
        shifts: (N, 2), in pixels along rows' and columns' direction (down, right).
        angles: (N,), in radians; the source turns from down to right.
        nodes: (N, 2, n, n), displacements (down, right) in pixels on a coarse grid that spans the image; bicubic in
            between.

    Returns:
        float32 (N, 2, H, W), down and right.
    """
    lines = [torch.arange(size, dtype=torch.float32) - (size - 1) / 2 for size in shape]
    down, right = torch.meshgrid(*lines, indexing="ij")
    cosines, sines = angles.cos()[:, None, None], angles.sin()[:, None, None]
    turned = torch.stack([cosines * down - sines * right, sines * down + cosines * right], dim=1)
    return turned + shifts[:, :, None, None] + interpolate_displacements(nodes, shape)


def interpolate_displacements(nodes: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Interpolate (N, 2, n, n) displacements bicubically to (N, 2, H, W); the outer nodes lie on the edge."""
    return functional.interpolate(nodes, size=tuple(shape), mode="bicubic", align_corners=True)


def resample(
    images: torch.Tensor, labels: torch.Tensor, *others: torch.Tensor, sources: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Take every pixel from its source: images bilinearly, labels and others from the nearest pixel.

    Args:
        images: uint8 (N, H, W, C).
        labels: uint8 (N, H, W); `others`, float32 (N, H, W), move alike.
        sources: see `sources_of`.

    Returns:
        images, labels and others, of the same shapes and types.
    """
    half = torch.tensor([(size - 1) / 2 for size in labels.shape[1:]]).reshape(1, 2, 1, 1)
    grid = (
        (sources / half).permute(0, 2, 3, 1).flip(-1).to(images.device)
    )  # (N, H, W, 2): right, down; +-1 at the edges
    pixels = _sample(images.permute(0, 3, 1, 2).float(), grid, "bilinear").round().to(images.dtype)
    planes = _sample(torch.stack([labels.float(), *others], dim=1), grid, "nearest")
    return pixels.permute(0, 2, 3, 1), planes[:, 0].to(labels.dtype), *planes[:, 1:].unbind(dim=1)


def _sample(values: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    return functional.grid_sample(values, grid, mode=mode, padding_mode="reflection", align_corners=True)
