"""Boundary IoU (Cheng et al., CVPR 2021, arXiv 2103.16562): overlap of the bands along the outlines. No torch."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.metrics.overlap import mean_over_classes, ratio

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


def measure_boundaries(
    counts: np.ndarray, classes: Sequence[str], groups: Mapping[str, Sequence[str]], labelled: Sequence[int]
) -> list[tuple[str, str, float]]:
    """Return rows (measure, class, value in [0, 1]), pooled over the images.

    `boundary_iou` of each class, `mean_boundary_iou` over all classes and over each of `groups`.

    Args:
        counts: int64 (N, C, 2), see `boundary_counts`.
        labelled: see `overlap.labelled_classes`; means are over these.
    """
    values = boundary_iou(counts.sum(axis=0))
    rows = [("boundary_iou", name, float(value)) for name, value in zip(classes, values, strict=True)]
    for group, names in {"all": classes, **groups}.items():
        members = [index for index in map(list(classes).index, names) if index in labelled]
        mean = mean_over_classes(values, members)
        rows.append(("mean_boundary_iou", group, float(mean)))
    return rows
