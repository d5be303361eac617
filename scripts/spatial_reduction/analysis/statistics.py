"""Paired statistics over seeds: intervals, tests, equivalence, correction for many comparisons.

Functions of `differences (..., n)` work on many contrasts at once; the n values of the last axis are the seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05  # of every test; intervals cover 1 - LEVEL
FEWEST_SEEDS = 6  # an exact two-sided Wilcoxon test of n pairs cannot fall below 2 / 2^n: .0625 at 5, .03125 at 6


@dataclass(frozen=True)
class Contrast:
    """The paired difference of two arms, in the unit of the values.

    Attributes:
        n: pairs (seeds).
        difference: mean over the pairs.
        ci_low, ci_high: 95 % interval over seeds and test images; NaN for n = 1.
        p_value: two-sided t test with the interval's error: below .05 where the interval leaves out 0. Where the
            images add no variance it is the paired t test on the seeds' values.
        p_wilcoxon: exact two-sided Wilcoxon signed-rank test on the seeds' values.
        p_equivalence: two one-sided tests (TOST) against the margin, with the interval's error; not adjusted.
        probability_better: share of the pairs in which the arm is better, ties counted half.
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
    """Return how often each image is drawn in each bootstrap resample, uint16 (resamples, images)."""
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, images), dtype=np.uint16)
    for row in weights:
        row[:] = np.bincount(rng.integers(0, images, images), minlength=images)
    return weights


def standard_errors(
    differences: np.ndarray, image_variance: float | np.ndarray, images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return two standard errors (2, ...) of the mean difference, and their degrees of freedom.

    First, over seeds and test images: the two variances add, because all seeds are tested on the same images: s^2 / n
    of the seeds, and that of the mean over seeds when the images are drawn anew (bootstrap), with Satterthwaite's
    (1946) degrees of freedom. A bootstrap over a handful of seeds would be too narrow: it lacks the factor
    n / (n - 1) and the t quantile. Second, over seeds alone, with n - 1: with 3 seeds that happen to lie close, the
    first has too many degrees of freedom. Intervals and tests go by the more cautious of the two.

    Args:
        differences: (..., n), one per seed.
        image_variance: (...), variance of the mean over seeds between resamples of the images.
        images: number of test images.
    """
    n = differences.shape[-1]
    if n < 2:
        nothing = np.full((2, *differences.shape[:-1]), np.nan)
        return nothing, nothing
    of_seeds = differences.var(axis=-1, ddof=1) / n
    total = of_seeds + image_variance
    squares = of_seeds**2 / (n - 1) + np.square(image_variance) / max(1, images - 1)
    freedom = np.divide(total**2, squares, out=np.full(total.shape, n - 1.0), where=squares > 0)
    return np.sqrt([total, of_seeds]), np.stack([freedom, np.full(total.shape, n - 1.0)])


def half_width(error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Return half the width of the 95 % interval; (2, ...) -> (...)."""
    return (stats.t.ppf(1 - LEVEL / 2, freedom) * error).max(axis=0)


def t_test(mean: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Return the two-sided p-value of a mean, with no error at all 1 for a mean of 0 and 0 for another.

    It is below .05 where the interval leaves out 0.

    Args:
        mean: (...).
        error, freedom: (2, ...), see `standard_errors`.
    """
    size = np.broadcast_to(np.abs(mean), error.shape)
    ratio = np.divide(size, error, out=np.where(size == 0, 0.0, np.inf), where=error != 0)
    return 2 * stats.t.sf(ratio, freedom).max(axis=0)


def equivalence_test(mean: np.ndarray, error: np.ndarray, freedom: np.ndarray, margin: float) -> np.ndarray:
    """Return the p-value of two one-sided tests (Schuirmann 1987): small where the mean lies within +-margin.

    Arguments as of `t_test`.
    """
    room = np.broadcast_to(margin - np.abs(mean), error.shape)
    ratio = np.divide(room, error, out=np.where(room > 0, np.inf, -np.inf), where=error != 0)
    return stats.t.sf(ratio, freedom).max(axis=0)


def signed_rank_test(differences: np.ndarray) -> float:
    """Return the exact two-sided p-value of Wilcoxon's signed-rank test; (n,) -> float.

    Zeros are left out; equal sizes share their mean rank and the distribution is that of the shared ranks, over all 2^n
    signs. Infinite differences are the largest.
    """
    nonzero = differences[differences != 0]
    doubled = (2 * stats.rankdata(np.abs(nonzero))).astype(int)  # whole numbers, halves included
    shares = np.ones(1)  # of the signs that give each sum of positive ranks
    for rank in doubled:
        shares = (np.pad(shares, (0, rank)) + np.pad(shares, (rank, 0))) / 2
    found = doubled[nonzero > 0].sum()
    return float(min(1.0, 2 * min(shares[: found + 1].sum(), shares[found:].sum())))


def contrast(
    differences: np.ndarray, image_variance: float, images: int, margin: float, higher_is_better: bool = True
) -> Contrast:
    """Summarise paired differences.

    Args:
        differences: (n,), one per seed, on the images as they are.
        image_variance: variance of their mean between resamples of the images.
        images: number of test images.
        margin: differences within +-margin count as equivalent.
        higher_is_better: which sign favours the arm.
    """
    n, mean = len(differences), differences.mean()
    error, freedom = standard_errors(differences, image_variance, images)
    reach = half_width(error, freedom)
    favour = np.sign(differences) if higher_is_better else -np.sign(differences)
    return Contrast(
        n=n,
        difference=float(mean),
        ci_low=float(mean - reach),
        ci_high=float(mean + reach),
        p_value=float(t_test(mean, error, freedom)),
        p_wilcoxon=signed_rank_test(differences),
        p_equivalence=float(equivalence_test(mean, error, freedom, margin)),
        probability_better=float((favour + 1).mean() / 2),
    )


def adjust_holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return Holm's (1979) adjusted p-values over the last axis, (..., m); NaN stays NaN and counts as no test.

    The k-th smallest of m is multiplied by m - k + 1, and none may be below a smaller one's.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, axis=-1)  # NaN comes last
    rank = np.arange(values.shape[-1])
    factor = np.sum(~np.isnan(values), axis=-1, keepdims=True) - rank
    steps = np.fmax.accumulate(np.take_along_axis(values, order, axis=-1) * factor, axis=-1)
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(steps, 1), axis=-1)
    return np.where(np.isnan(values), np.nan, adjusted)


def decide(p_equivalence: np.ndarray, p_holm: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Return what the data say of "the arm is better": supported, refuted, equivalent or undecided.

    equivalent: TOST rejects a difference of the margin or more. supported / refuted: the adjusted p-value is below
    5 %, and so the interval leaves out 0. Anything else, and fewer than two seeds, is undecided.

    Args:
        gain: the difference, positive where the arm is better.
    """
    is_claimed, gain = np.asarray(p_holm) < LEVEL, np.asarray(gain)
    conditions = [np.asarray(p_equivalence) < LEVEL, is_claimed & (gain > 0), is_claimed & (gain < 0)]
    return np.select(conditions, ["equivalent", "supported", "refuted"], default="undecided")
