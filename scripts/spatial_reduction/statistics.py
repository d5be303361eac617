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
        p_equivalence: two one-sided tests (TOST) against the margin, with the interval's error; not adjusted.
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


def standard_error(differences: np.ndarray, resampled: np.ndarray, images: int) -> tuple[float, float]:
    """Return the standard error of the mean difference over seeds and test images, and its degrees of freedom.

    The two variances add, because all seeds are tested on the same images: s^2 / n of the seeds, and that of the mean
    over seeds when the images are drawn anew (bootstrap). The degrees of freedom are Satterthwaite's (1946). A
    bootstrap over a handful of seeds would be too narrow: it lacks the factor n / (n - 1) and the t quantile.

    Args:
        differences: (n,), one per seed.
        resampled: (n, B), the same on B resamples of the images.
        images: number of test images.
    """
    n = len(differences)
    if n < 2:
        return float("nan"), float("nan")
    of_seeds, of_images = differences.var(ddof=1) / n, resampled.mean(axis=0).var(ddof=1)
    total = of_seeds + of_images
    if total == 0:
        return 0.0, float(n - 1)
    freedom = total**2 / (of_seeds**2 / (n - 1) + of_images**2 / max(1, images - 1))
    return float(np.sqrt(total)), float(freedom)


def contrast(differences: np.ndarray, resampled: np.ndarray, images: int, margin: float) -> Contrast:
    """Summarise paired differences.

    Args:
        differences: (n,), one per seed, on the images as they are.
        resampled: (n, B), the same on B resamples of the images.
        images: number of test images.
        margin: differences within +-margin count as equivalent.
    """
    n, mean = len(differences), float(differences.mean())
    error, freedom = standard_error(differences, resampled, images)
    reach = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
    return Contrast(
        n=n,
        difference=mean,
        ci_low=mean - reach,
        ci_high=mean + reach,
        p_value=_t_test(differences),
        p_wilcoxon=_wilcoxon(differences),
        p_equivalence=_equivalence(mean, error, freedom, margin),
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


def _equivalence(mean: float, error: float, freedom: float, margin: float) -> float:
    if error == 0:
        return float(abs(mean) >= margin)
    return float(max(stats.t.sf((mean + margin) / error, freedom), stats.t.sf((margin - mean) / error, freedom)))
