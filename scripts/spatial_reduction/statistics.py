"""Paired statistics over seeds: intervals, tests, equivalence, correction for many comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

LEVEL = 0.05  # of every test; intervals cover 1 - LEVEL
FEWEST_SEEDS = 6  # an exact two-sided Wilcoxon test of n pairs cannot fall below 2 / 2^n: .0625 at 5, .03125 at 6


@dataclass(frozen=True)
class Contrast:
    """The paired difference of two arms, in the unit of the values.

    Attributes:
        n: pairs (seeds).
        difference: mean over the pairs.
        ci_low, ci_high: 95 % interval over seeds and test images; NaN for n = 1.
        p_value: two-sided paired t test on the seeds' values.
        p_wilcoxon: exact two-sided Wilcoxon signed-rank test.
        p_equivalence: two one-sided tests (TOST) against the margin.
        probability_better: share of the pairs with a difference above 0, ties counted half.
    """

    n: int
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_wilcoxon: float
    p_equivalence: float
    probability_better: float


def image_weights(images: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each image is drawn in each bootstrap resample, float32 (resamples, images)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, images, (resamples, images))
    offsets = np.arange(resamples)[:, None] * images
    return (
        np.bincount((draws + offsets).reshape(-1), minlength=resamples * images)
        .reshape(resamples, images)
        .astype(np.float32)
    )


def standard_error(resampled: np.ndarray, seed: int) -> float:
    """Return the standard error of the mean difference, over seeds and images, by the bootstrap.

    Seeds are drawn with replacement; within a resample all seeds see the same draw of images, because every
    model is tested on the same images (a two-way, "pigeonhole" bootstrap: Owen 2007, arXiv 0712.1111). The
    variance is multiplied by n / (n - 1), which the bootstrap over n seeds is too small by.

    Args:
        resampled: differences (n seeds, B resamples of the images).
    """
    n, resamples = resampled.shape
    if n < 2:
        return float("nan")
    drawn = np.random.default_rng(seed).integers(0, n, (n, resamples))
    means = np.take_along_axis(resampled, drawn, axis=0).mean(axis=0)
    return float(np.sqrt(means.var(ddof=1) * n / (n - 1)))


def contrast(differences: np.ndarray, resampled: np.ndarray, margin: float, seed: int) -> Contrast:
    """Summarise paired differences.

    Args:
        differences: (n,), one per seed, on the images as they are.
        resampled: (n, B), the same on B resamples of the images.
        margin: differences within +-margin count as equivalent.
    """
    n, mean = len(differences), float(differences.mean())
    error = standard_error(resampled, seed)
    reach = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * error if n > 1 else float("nan")
    return Contrast(
        n=n,
        difference=mean,
        ci_low=mean - reach,
        ci_high=mean + reach,
        p_value=_t_test(differences),
        p_wilcoxon=_wilcoxon(differences),
        p_equivalence=_equivalence(mean, error, n, margin),
        probability_better=float((np.sign(differences) + 1).mean() / 2),
    )


def adjust_holm(p_values: Sequence[float]) -> np.ndarray:
    """Return Holm's adjusted p-values; NaN stays NaN and counts as no test."""
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(values), np.nan)
    tested = ~np.isnan(values)
    if tested.any():
        adjusted[tested] = multipletests(values[tested], method="holm")[1]
    return adjusted


def decide(result: Contrast, p_holm: float) -> str:
    """Return what the data say of "the arm is better": supported, refuted, equivalent or undecided.

    equivalent: TOST rejects a difference of the margin or more. supported / refuted: the interval excludes 0
    and the adjusted p-value is below 5 %. Anything else, and fewer than two seeds, is undecided.
    """
    if result.p_equivalence < LEVEL:
        return "equivalent"
    if p_holm < LEVEL and result.ci_low > 0:
        return "supported"
    if p_holm < LEVEL and result.ci_high < 0:
        return "refuted"
    return "undecided"


def _t_test(differences: np.ndarray) -> float:
    if len(differences) < 2:
        return float("nan")
    if np.ptp(differences) == 0:  # no spread: t is infinite, or 0 / 0
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0).pvalue)


def _wilcoxon(differences: np.ndarray) -> float:
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences[differences != 0], method="exact").pvalue)


def _equivalence(mean: float, error: float, n: int, margin: float) -> float:
    if n < 2:
        return float("nan")
    if error == 0:
        return float(abs(mean) >= margin)
    return float(max(stats.t.sf((mean + margin) / error, n - 1), stats.t.sf((margin - mean) / error, n - 1)))
