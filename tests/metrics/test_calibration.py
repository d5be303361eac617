import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torchmetrics.classification import MulticlassCalibrationError

from spatial_reduction.metrics.calibration import (
    calibration_error,
    likelihood_counts,
    mean_likelihood,
    reliability_counts,
)


@pytest.fixture
def pixels():
    """Labels (4, 6, 5), some ignored, and log-probabilities (4, 3, 6, 5) that are too confident."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (4, 3, 6, 5)).astype(np.float32))
    labels = rng.integers(0, 3, (4, 6, 5)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.2] = 255
    return labels, logits.log_softmax(dim=1).numpy()


def certain(probability):
    """Log-probabilities (1, 2, 1, n) of n pixels with the given probability of class 1."""
    with np.errstate(divide="ignore"):
        return np.log(np.stack([1 - np.array(probability), probability]))[None, :, None]


def test_the_error_agrees_with_torchmetrics(pixels):
    labels, logarithms = pixels
    oracle = MulticlassCalibrationError(num_classes=3, n_bins=15, norm="l1", ignore_index=255)
    expected = oracle(torch.from_numpy(logarithms).exp(), torch.from_numpy(labels).long())
    assert calibration_error(reliability_counts(labels, logarithms).sum(axis=0)) == pytest.approx(float(expected))


def test_the_likelihood_agrees_with_scikit_learn(pixels):
    labels, logarithms = pixels
    is_labelled = labels != 255
    probabilities = np.exp(np.moveaxis(logarithms, 1, -1)[is_labelled].astype(np.float64))
    expected = log_loss(labels[is_labelled], probabilities / probabilities.sum(axis=1, keepdims=True))
    counts = likelihood_counts(labels, logarithms)
    assert mean_likelihood(counts.sum(axis=0)) == pytest.approx(expected)
    assert counts[:, 1].tolist() == is_labelled.sum(axis=(1, 2)).tolist()


def test_a_case_counted_by_hand():
    # Confidence .9 twice, once right; .8 once, wrong; the last pixel is ignored.
    labels, logarithms = np.array([[[1, 0, 0, 255]]], dtype=np.uint8), certain([0.9, 0.9, 0.8, 0.7])
    counts = reliability_counts(labels, logarithms)[0]
    assert counts[13] == pytest.approx([2, 1.8, 1])
    assert counts[11] == pytest.approx([1, 0.8, 0])
    assert counts.sum(axis=0) == pytest.approx([3, 2.6, 1])
    assert calibration_error(counts) == pytest.approx((0.8 + 0.8) / 3)
    likelihood = likelihood_counts(labels, logarithms)[0]
    assert mean_likelihood(likelihood) == pytest.approx(-(np.log(0.9) + np.log(0.1) + np.log(0.2)) / 3)


def test_a_bin_holds_its_upper_end_and_certainty_is_in_the_last():
    labels = np.zeros((1, 1, 2), dtype=np.uint8)
    counts = reliability_counts(labels, certain([1.0, 0.5]))[0, :, 0]
    assert counts[14] == counts[7] == 1  # 7/15 < .5 <= 8/15
    thirds = np.log(np.full((1, 3, 1, 1), 0.6))
    assert reliability_counts(labels[:, :, :1], thirds)[0, 8, 0] == 1  # .6 = 9/15 is in (8/15, 9/15]
    twentieths = np.log(np.full((1, 20, 1, 1), 0.05))
    assert reliability_counts(labels[:, :, :1], twentieths)[0, 0, 0] == 1  # of many classes, the first bin


def test_sums_of_images_are_sums_of_all_pixels(pixels):
    labels, logarithms = pixels
    whole = reliability_counts(labels.reshape(1, 24, 5), np.moveaxis(logarithms, 1, 0).reshape(1, 3, 24, 5))
    assert reliability_counts(labels, logarithms).sum(axis=0) == pytest.approx(whole[0])


def test_without_a_labelled_pixel_nothing_is_defined():
    labels = np.full((1, 1, 1), 255, dtype=np.uint8)
    assert np.isnan(calibration_error(reliability_counts(labels, certain([0.5]))[0]))
    assert np.isnan(mean_likelihood(likelihood_counts(labels, certain([0.5]))[0]))
