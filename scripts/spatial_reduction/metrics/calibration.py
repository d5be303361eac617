"""Calibration: does a confidence of 90 % mean that 90 % of such pixels are right? No torch."""

import numpy as np

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.metrics.overlap import ratio

BINS = 15  # of equal width over (0, 1], as in Guo et al., ICML 2017 (arXiv 1706.04599), section 4


def reliability_counts(labels: np.ndarray, log_probabilities: np.ndarray) -> np.ndarray:
    """Sum, in each image and bin of confidence, what the calibration error needs.

    The confidence of a pixel is the probability of its most probable class. Bin b of 0..14 holds those in
    (b / 15, (b + 1) / 15].

    Args:
        labels: uint8 (N, H, W), 255 is ignored.
        log_probabilities: natural logarithm of the softmax, float (N, C, H, W).

    Returns:
        float64 (N, 15, 3): number of labelled pixels, sum of their confidences, number of them that are right.
    """
    is_labelled = labels != IGNORED
    confidence = np.exp(log_probabilities.max(axis=1)[is_labelled].astype(np.float64))
    is_right = (log_probabilities.argmax(axis=1) == labels)[is_labelled]
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    cell = np.nonzero(is_labelled)[0] * BINS + bins
    sums = [np.bincount(cell, weights, len(labels) * BINS) for weights in (None, confidence, is_right)]
    return np.stack(sums, axis=-1).reshape(len(labels), BINS, 3).astype(np.float64)


def likelihood_counts(labels: np.ndarray, log_probabilities: np.ndarray) -> np.ndarray:
    """Sum, in each image, the negative log-likelihood of the true classes; arguments as `reliability_counts`.

    Returns:
        float64 (N, 2): the sum in nats, and the number of labelled pixels.
    """
    is_labelled = labels != IGNORED
    true = np.where(is_labelled, labels, 0)[:, None].astype(np.int64)
    of_truth = np.take_along_axis(log_probabilities, true, axis=1)[:, 0].astype(np.float64)
    sums = -np.where(is_labelled, of_truth, 0).sum(axis=(1, 2))
    return np.stack([sums, is_labelled.sum(axis=(1, 2))], axis=-1)


def calibration_error(reliability: np.ndarray) -> np.ndarray:
    """Expected calibration error, sum over bins of (n_b / n) |accuracy_b - confidence_b|; (..., 15, 3) -> (...).

    Guo et al. 2017, equation 3. NaN where there is no labelled pixel.
    """
    gaps = np.abs(reliability[..., 2] - reliability[..., 1])
    return ratio(gaps.sum(axis=-1), reliability[..., 0].sum(axis=-1))


def mean_likelihood(likelihood: np.ndarray) -> np.ndarray:
    """Mean negative log-likelihood of a labelled pixel in nats; (..., 2) -> (...), NaN where there is none."""
    return ratio(likelihood[..., 0], likelihood[..., 1])
