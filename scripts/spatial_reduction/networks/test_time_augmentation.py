"""Predictions averaged over turned and mirrored images."""

from collections.abc import Callable
from math import log

import numpy as np
import torch

Predict = Callable[[np.ndarray], torch.Tensor]  # images uint8 (n, H, W, C) -> logits float (n, classes, H, W)


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
    total = None
    for turns in range(4):
        for is_mirrored in (False, True)[: symmetries // 4]:
            shown = np.rot90(images[:, :, ::-1] if is_mirrored else images, turns, axes=(1, 2))
            seen = torch.rot90(predict(np.ascontiguousarray(shown)).log_softmax(dim=1), -turns, dims=(2, 3))
            seen = seen.flip(3) if is_mirrored else seen
            total = seen if total is None else torch.logaddexp(total, seen)
    return total - log(symmetries)
