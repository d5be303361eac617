"""Predictions averaged over turned and mirrored images."""

from collections.abc import Callable, Iterator
from math import log

import numpy as np
import torch

from spatial_reduction.networks.tiled_inference import Blocks

Predict = Callable[[np.ndarray], torch.Tensor]  # images uint8 (n, H, W, C) -> logits float (n, classes, H, W)
PredictPart = Callable[[Blocks, slice, slice], torch.Tensor]  # image, rows, columns -> logits float (1, classes, h, w)


def average_symmetries(predict: Predict, images: np.ndarray, symmetries: int) -> torch.Tensor:
    """Return the logits of images, or the logarithm of their probabilities averaged over symmetries of the square.

    Ronneberger, Fischer and Brox (2015, section 4) average over 7 rotated versions of the image, and do not say
    which. These here need no interpolation. The softmax of what is returned is the averaged probability.

    Args:
        predict: what computes logits; it is given (n, W, H, C), too.
        images: uint8 (n, H, W, C).
        symmetries: 1 returns the logits as they are; 4 averages over quarter turns, 8 over their mirror images, too.

    Returns:
        float32 (n, classes, H, W).
    """
    if symmetries == 1:
        return predict(images)

    def predict_turned(turns: int, is_mirrored: bool) -> torch.Tensor:
        shown = np.rot90(images[:, :, ::-1] if is_mirrored else images, turns, axes=(1, 2))
        return predict(np.ascontiguousarray(shown))

    return _average(predict_turned, symmetries)


def average_symmetries_of_part(
    predict: PredictPart, image: Blocks, rows: slice, columns: slice, symmetries: int
) -> torch.Tensor:
    """Return what `average_symmetries` does for a part of an image: float32 (1, classes, h, w)."""
    if symmetries == 1:
        return predict(image, rows, columns)

    def predict_turned(turns: int, is_mirrored: bool) -> torch.Tensor:
        turned = _Turned(image, turns, is_mirrored)
        return predict(turned, *turned.place(rows, columns))

    return _average(predict_turned, symmetries)


def _average(predict_turned: Callable[[int, bool], torch.Tensor], symmetries: int) -> torch.Tensor:
    """Average over the predictions of an image that is mirrored, then turned to the left; turned back."""
    total = None
    for turns, is_mirrored in _symmetries(symmetries):
        seen = torch.rot90(predict_turned(turns, is_mirrored).log_softmax(dim=1), -turns, dims=(2, 3))
        seen = seen.flip(3) if is_mirrored else seen
        total = seen if total is None else torch.logaddexp(total, seen)
    return total - log(symmetries)


def _symmetries(count: int) -> Iterator[tuple[int, bool]]:
    for turns in range(4):
        for is_mirrored in (False, True)[: count // 4]:
            yield turns, is_mirrored


class _Turned:
    """An image that is mirrored, then turned to the left by quarter turns, block by block."""

    def __init__(self, image: Blocks, turns: int, is_mirrored: bool) -> None:
        self.image, self.turns, self.is_mirrored = image, turns, is_mirrored

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.image.size
        return (width, height) if self.turns % 2 else (height, width)

    def place(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return where a part of the image lies in the turned one."""
        height, width = self.image.size
        columns = _reversed(columns, width) if self.is_mirrored else columns
        for _ in range(self.turns):
            rows, columns, height, width = _reversed(columns, width), rows, width, height
        return rows, columns

    def block(self, rows: slice, columns: slice) -> np.ndarray:
        """Return uint8 (h, w, C)."""
        height, width = self.size
        for _ in range(self.turns):  # back, to the right
            rows, columns, height, width = columns, _reversed(rows, height), width, height
        pixels = self.image.block(rows, _reversed(columns, width) if self.is_mirrored else columns)
        return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if self.is_mirrored else pixels, self.turns))


def _reversed(part: slice, length: int) -> slice:
    return slice(length - part.stop, length - part.start)
