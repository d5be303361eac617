"""Boundary IoU (Cheng et al., CVPR 2021, arXiv 2103.16562): overlap of the bands along the outlines. No torch."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.metrics.overlap import ClassSets, mean_over_classes, ratio

BAND = 0.02  # width of a band as a share of the image diagonal, as in the paper


def band_width(shape: Sequence[int]) -> int:
    """Return the width of a band in whole pixels, at least 1, for an image shape (H, W): 4 at 128 x 128."""
    return max(1, round(BAND * math.hypot(*shape)))


def boundary_bands(masks: np.ndarray, width: int) -> np.ndarray:
    """Return the pixels of each mask that lie within `width` pixels of its outside; bool (N, H, W) -> the same.

    A mask loses what `width` erosions by a 3 x 3 square leave of it. What lies beyond the image counts as outside, so
    a mask that the image cuts off has its band along the edge of the image, too.
    """
    eroded = masks.astype(np.uint8)
    for axis in (1, 2):  # a square is separable
        eroded = ndimage.minimum_filter1d(eroded, 2 * width + 1, axis=axis, mode="constant", cval=0)
    return masks & ~eroded.view(bool)


def boundary_counts(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels in the intersection and in the union of the true and the predicted band of each class.

    Ignored pixels are removed from the prediction, as they are from the truth, before bands are drawn.

    Args:
        labels: uint8 (N, H, W), 255 is ignored.
        predictions: integer (N, H, W) in 0..classes-1.

    Returns:
        int64 (N, classes, 2).
    """
    width, is_labelled = band_width(labels.shape[1:]), labels != IGNORED
    counts = np.zeros((len(labels), classes, 2), dtype=np.int64)
    for index in range(classes):
        true = boundary_bands(labels == index, width)
        found = boundary_bands((predictions == index) & is_labelled, width)
        counts[:, index, 0] = (true & found).sum(axis=(1, 2))
        counts[:, index, 1] = (true | found).sum(axis=(1, 2))
    return counts


def boundary_iou(counts: np.ndarray) -> np.ndarray:
    """Boundary IoU of each class; (..., C, 2) -> float64 (..., C), NaN where neither side has the class."""
    return ratio(counts[..., 0], counts[..., 1])


def measure_boundaries(counts: np.ndarray, classes: ClassSets) -> dict[tuple[str, str], np.ndarray]:
    """Return {(measure, class or group): values in [0, 1]} of counts that are summed over images, (..., C, 2) -> (...).

    `boundary_iou` of each class, `mean_boundary_iou` over each group.
    """
    values = boundary_iou(counts)
    measured = {("boundary_iou", name): values[..., index] for index, name in enumerate(classes.names)}
    means = {group: mean_over_classes(values, members) for group, members in classes.groups.items()}
    return measured | {("mean_boundary_iou", group): mean for group, mean in means.items()}
