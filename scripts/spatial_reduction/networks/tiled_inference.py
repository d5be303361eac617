"""Overlap-tile prediction (Ronneberger, Fischer, Brox 2015, figure 2): images of any size, without seams."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.inference import compute_logits


class Blocks(Protocol):
    """An image whose pixels are read block by block."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""

    def block(self, rows: slice, columns: slice) -> np.ndarray:
        """Return uint8 (h, w, C)."""


def compute_logits_of_part(
    model: Network, image: Blocks, rows: slice, columns: slice, device: torch.device
) -> torch.Tensor:
    """Return the logits of a part of an image of any size, as if those of the whole image were computed at once.

    Sides that the network's stride does not divide are continued by mirroring below and on the right. The part is
    computed with as much of the image around it as its logits depend on, from a multiple of the network's period on;
    where it touches the image's border, so does what is computed. The logits then are those of the whole image, borders
    included, up to rounding.

    Returns:
        float32 (1, classes, h, w) on the CPU.

    Raises:
        InputError: a logit is not finite.
    """
    seen = [_seen(part, length, model) for part, length in zip((rows, columns), image.size, strict=True)]
    held = [slice(part.start, min(part.stop, length)) for part, length in zip(seen, image.size, strict=True)]
    mirrored = [(0, part.stop - own.stop) for part, own in zip(seen, held, strict=True)]
    pixels = image.block(*held)
    if any(missing for _, missing in mirrored):
        pixels = np.pad(pixels, [*mirrored, (0, 0)], mode="reflect")
    inner = [slice(part.start - of.start, part.stop - of.start) for part, of in zip((rows, columns), seen, strict=True)]
    return compute_logits(model, pixels[None], device)[..., inner[0], inner[1]].cpu()


def cut_into_tiles(size: tuple[int, int], tile: int, period: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of the tiles of an image, row by row of them.

    Args:
        size: (H, W).
        tile: side in pixels, rounded up to the network's period.
    """
    side = _round_up(tile, period)
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            yield slice(top, min(top + side, size[0])), slice(left, min(left + side, size[1]))


def _seen(part: slice, length: int, model: Network) -> slice:
    """Return a part along one side with its context, inside of the image and its mirrored end."""
    context = _round_up(model.receptive_radius, model.period)
    first = part.start // model.period * model.period
    end = _round_up(part.stop, model.period) if part.stop < length else length
    return slice(max(0, first - context), min(_round_up(length, model.stride), end + context))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
