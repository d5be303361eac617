"""Batches of the tightest boxes around the kept pixels: the one reduction that makes a training step cheaper."""

from dataclasses import dataclass

import numpy as np
import torch

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.networks.stride import round_up
from spatial_reduction.runtime.device import moved

POOL = 16  # batches whose images are sorted by size together: more of them waste less padding, fewer mix images better
SIZES = 16  # lengths that a window can have: the first step of a new size costs twice as much (cuDNN, oneDNN plan it)
SMALLEST = 4  # a window is at least 1/4 of the image's side: augmentation and the deepest resolution need that much


def tight_boxes(kept: np.ndarray) -> np.ndarray:
    """Return the smallest box that holds all kept pixels: bool (N, H, W) -> int64 (N, 4): top, left, height, width.

    Raises:
        ValueError: an image keeps no pixel.
    """
    if not kept.any(axis=(1, 2)).all():
        raise ValueError("an image keeps no pixel, so it has no box")
    spans = []
    for axis in (2, 1):
        lines = kept.any(axis=axis)  # (N, H), then (N, W)
        first, after = lines.argmax(axis=1), lines.shape[1] - lines[:, ::-1].argmax(axis=1)
        spans.append((first, after - first))
    (top, height), (left, width) = spans
    return np.stack([top, left, height, width], axis=1).astype(np.int64)


@dataclass(frozen=True)
class Windows:
    """Where each image is cut.

    Attributes:
        boxes: int64 (N, 4) on the CPU, as `tight_boxes` returns them.
        stride: the network's; the sides of a window are divisible by it, as those of the images are.
    """

    boxes: torch.Tensor
    stride: int

    def group(self, order: torch.Tensor, size: int) -> list[torch.Tensor]:
        """Return batches of images with boxes of similar size: as many batches as without crops, each image once.

        Within every `POOL` batches the images are sorted by the longer side of their box; the batches then come
        in the order of their smallest images, so they do not grow.
        """
        place = torch.argsort(order)
        longer = self.boxes[:, 2:].amax(dim=1)
        batches = []
        for pool in order.split(POOL * size):
            ranked = pool[torch.argsort(longer[pool], stable=True)]
            batches += sorted(ranked.split(size), key=lambda batch: int(place[batch[0]]))
        return batches

    def cut(
        self, pixels: torch.Tensor, labels: torch.Tensor, *others: torch.Tensor, chosen: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return windows of some images, all of the size that the largest of their boxes needs.

        Args:
            pixels, labels: uint8 (n, H, W, C) and (n, H, W), of these images; `others` are cut alike.
            chosen: their positions int64 (n,), on the CPU.

        Returns:
            uint8 (n, h, w, C) and (n, h, w), and the others. A box lies in the middle of its window, or
            nearer to the edge of its image; what surrounds it is the image, as reduced, with the label 255.
        """
        rows, in_box = self._lines(chosen, 0, labels.shape[1])
        columns, in_box_too = self._lines(chosen, 1, labels.shape[2])
        rows, in_box, columns, in_box_too = (
            moved(lines, labels.device) for lines in (rows, in_box, columns, in_box_too)
        )
        outside = ~(in_box[:, :, None] & in_box_too[:, None, :])
        images = torch.arange(len(chosen), device=labels.device)
        at = (images[:, None, None], rows[:, :, None], columns[:, None, :])
        return pixels[at], labels[at].masked_fill(outside, IGNORED), *(other[at] for other in others)

    def _lines(self, chosen: torch.Tensor, axis: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows (axis 0) or columns (1) of each window, int64 (n, h), and which of them are in the box."""
        first, extent = self.boxes[chosen, axis], self.boxes[chosen, axis + 2]
        unit = round_up(-(-side // SIZES), self.stride)
        size = min(round_up(max(int(extent.max()), -(-side // SMALLEST)), unit), side)
        start = (first - (size - extent) // 2).clamp(0, side - size)
        lines = start[:, None] + torch.arange(size)
        return lines, (lines >= first[:, None]) & (lines < (first + extent)[:, None])
