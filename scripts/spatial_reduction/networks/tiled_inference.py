"""Overlap-tile prediction (Ronneberger, Fischer, Brox 2015, figure 2): images of any size, without seams."""

from collections.abc import Iterator

import numpy as np
import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.inference import compute_logits
from spatial_reduction.networks.stride import round_up


def compute_logits_tiled(model: Network, images: np.ndarray, tile: int, device: torch.device) -> torch.Tensor:
    """Return the logits of images of any size, as if they were computed at once, one tile on the device at a time.

    Sides that the network's stride does not divide are continued by mirroring below and on the right. Each tile is
    computed with as much of the image around it as its logits depend on, and begins at a multiple of the
    network's period; where it touches the image's border, so does what is computed. The logits then are those
    of the whole image, borders included, up to rounding.

    Args:
        images: uint8 (n, H, W, C).
        tile: side in pixels of the squares; what surrounds them comes on top. Rounded up to the network's period.

    Returns:
        float32 (n, classes, H, W) on the CPU.

    Raises:
        InputError: a logit is not finite.
    """
    count, height, width, _ = images.shape
    mirrored = mirror_to_multiple(images, model.stride)
    logits = torch.empty(count, model.architecture["classes"], *mirrored.shape[1:3])
    context = round_up(model.receptive_radius, model.period)
    for rows, seen_rows in _spans(mirrored.shape[1], round_up(tile, model.period), context):
        for columns, seen_columns in _spans(mirrored.shape[2], round_up(tile, model.period), context):
            part = compute_logits(model, mirrored[:, seen_rows, seen_columns], device)
            inner = (_within(rows, seen_rows), _within(columns, seen_columns))
            logits[..., rows, columns] = part[..., inner[0], inner[1]].cpu()
    return logits[..., :height, :width]


def mirror_to_multiple(images: np.ndarray, stride: int) -> np.ndarray:
    """Continue images (n, H, W, C) below and on the right by mirroring, to the next multiples of `stride`."""
    missing = [(0, -side % stride) for side in images.shape[1:3]]
    return np.pad(images, [(0, 0), *missing, (0, 0)], mode="reflect") if stride > 1 else images


def _spans(length: int, tile: int, context: int) -> Iterator[tuple[slice, slice]]:
    """Yield, along one side, (the tile, the tile with its context inside of the image)."""
    for start in range(0, length, tile):
        end = min(start + tile, length)
        yield slice(start, end), slice(max(0, start - context), min(length, end + context))


def _within(tile: slice, seen: slice) -> slice:
    return slice(tile.start - seen.start, tile.stop - seen.start)
