"""Shifted, rotated and elastically deformed batches: where each pixel comes from, and its value there.

After Ronneberger, Fischer, Brox: U-Net (MICCAI 2015, arXiv 1505.04597), section 3.1. What lies outside of an image is
its mirror image (without repeating the pixel at the edge), so no pixel is black or ignored.
"""

import math
from collections.abc import Collection, Sequence

import torch
from torch.nn import functional

NODES = 3  # the grid of random displacements is 3 x 3, as in the paper: corners, middles of the sides, centre
DISPLACEMENT = 10 / 512  # their standard deviation, of the side: the paper's 10 pixels in its images of 512 x 512
SMOOTH = 0.015  # standard deviation of the displacements of `draw_smooth_sources`, of the side
SHIFT = 1 / 16  # of the side, at most, along each axis; the paper gives no number


def draw_sources(
    names: Collection[str], count: int, shape: Sequence[int], side: int, device: torch.device | None = None
) -> torch.Tensor:
    """Draw, for each of `count` images, where its pixels come from; see `sources_of`. From PyTorch's global generator.

    Args:
        names: which of `shift` (uniform, up to 1/16 of `side`), `rotate` (any angle) and `grid_elastic` (normal,
            standard deviation 10 pixels per 512 of `side`).
        shape: (H, W).
        side: of whole images, which `shape` may be a part of.
        device: where to draw; by default the CPU.
    """
    shifts, angles = torch.zeros(count, 2, device=device), torch.zeros(count, device=device)
    nodes = torch.zeros(count, 2, NODES, NODES, device=device)
    if "shift" in names:
        shifts = (2 * torch.rand(count, 2, device=device) - 1) * SHIFT * side
    if "rotate" in names:
        angles = 2 * math.pi * torch.rand(count, device=device)
    if "grid_elastic" in names:
        nodes = torch.randn(count, 2, NODES, NODES, device=device) * DISPLACEMENT * side
    return sources_of(shape, shifts, angles, nodes)


def draw_smooth_sources(
    count: int, shape: Sequence[int], side: int, device: torch.device | None = None
) -> torch.Tensor:
    """Draw, for each of `count` images, where its pixels come from, displaced smoothly from pixel to pixel.

    Uniform noise under a Gaussian of 1/25 of `side`, as strong as gives displacements a standard deviation of 1.5 % of
    `side` (Simard et al. 2003; the numbers are this project's). Arguments and result as `draw_sources`.
    """
    sigma = side / 25
    noise = 2 * torch.rand(count * 2, 1, *shape, device=device) - 1
    for axis, size in enumerate(shape):
        reach = min(math.ceil(3 * sigma), size - 1)
        steps = torch.arange(-reach, reach + 1, dtype=torch.float32, device=device)
        kernel = torch.exp(-(steps**2) / (2 * sigma**2))
        kernel = kernel / kernel.sum()
        margins = [0, 0, reach, reach] if axis == 0 else [reach, reach, 0, 0]
        weight = kernel.reshape(1, 1, -1, 1) if axis == 0 else kernel.reshape(1, 1, 1, -1)
        noise = functional.conv2d(functional.pad(noise, margins, mode="reflect"), weight)
    # Under a Gaussian of sigma, white noise of variance 1/3 keeps a standard deviation of 1 / (2 sigma sqrt(3 pi)).
    strength = SMOOTH * side * 2 * sigma * math.sqrt(3 * math.pi)
    return _places(shape, device) + strength * noise.reshape(count, 2, *shape)


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
    down, right = _places(shape, shifts.device)
    cosines, sines = angles.cos()[:, None, None], angles.sin()[:, None, None]
    turned = torch.stack([cosines * down - sines * right, sines * down + cosines * right], dim=1)
    return turned + shifts[:, :, None, None] + interpolate_displacements(nodes, shape)


def _places(shape: Sequence[int], device: torch.device | None) -> torch.Tensor:
    """Return the place of each pixel from the centre of the image, float32 (2, H, W), down and right."""
    lines = [torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2 for size in shape]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))


def interpolate_displacements(nodes: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Interpolate (N, 2, n, n) displacements bicubically to (N, 2, H, W); the outer nodes lie on the edge."""
    return functional.interpolate(nodes, size=tuple(shape), mode="bicubic", align_corners=True)


def resample(
    images: torch.Tensor, labels: torch.Tensor, *others: torch.Tensor, sources: torch.Tensor, outside: int | None = None
) -> tuple[torch.Tensor, ...]:
    """Take every pixel from its source: images bilinearly, labels and others from the nearest pixel.

    Args:
        images: uint8 (N, H, W, C).
        labels: uint8 (N, H, W); `others`, float32 (N, H, W), move alike.
        sources: see `sources_of`.
        outside: label of pixels that come from outside of the image, which are black (others have that value, too);
            None mirrors the image there.

    Returns:
        images, labels and others, of the same shapes and types.
    """
    halves = [torch.full((), (size - 1) / 2, device=images.device) for size in labels.shape[1:]]
    half = torch.stack(halves).reshape(1, 2, 1, 1)
    grid = (sources / half).permute(0, 2, 3, 1).flip(-1)  # (N, H, W, 2): right, down; +-1 at the edges
    pixels = _sample(images.permute(0, 3, 1, 2).float(), grid, "bilinear").round()
    planes = _sample(torch.stack([labels.float(), *others], dim=1), grid, "nearest")
    if outside is not None:
        is_outside = (sources.abs() > half + 0.5).any(dim=1)  # beyond the edge of the outer pixels
        pixels = pixels.masked_fill(is_outside[:, None], 0)
        planes = planes.masked_fill(is_outside[:, None], outside)
    return pixels.to(images.dtype).permute(0, 2, 3, 1), planes[:, 0].to(labels.dtype), *planes[:, 1:].unbind(dim=1)


def _sample(values: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    return functional.grid_sample(values, grid, mode=mode, padding_mode="reflection", align_corners=True)
