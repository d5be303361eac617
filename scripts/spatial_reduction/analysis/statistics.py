"""Paired statistics over seeds: intervals, tests, equivalence, correction for many comparisons.

Functions of `differences (..., n)` work on many contrasts at once; the n values of the last axis are the seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05  # of every test; intervals cover 1 - LEVEL
MINIMUM_SEEDS = 3  # for any claim: with two the interval of a mean is 13 standard errors to either side
POWER, MOST_SEEDS = 0.8, 10_000  # of the plan of a further experiment
FEWEST_SEEDS = 6  # an exact two-sided Wilcoxon test of n pairs cannot fall below 2 / 2^n: .0625 at 5, .03125 at 6


@dataclass(frozen=True)
class Contrast:
    """The paired difference of two arms, in the unit of the values.

    Attributes:
        n: pairs (seeds).
        difference: mean over the pairs; NaN if one pair has none, and then so is all that follows from it.
        ci_low, ci_high: 95 % interval over seeds and test images; NaN for n = 1.
        p_value: two-sided t test with the interval's error: below .05 where the interval leaves out 0. Where the
            images add no variance it is the paired t test on the seeds' values.
        p_wilcoxon: exact two-sided Wilcoxon signed-rank test on the seeds' values.
        p_equivalence: two one-sided tests (TOST) against the margin, with the interval's error.
        probability_better: share of the pairs in which the arm is better, ties counted half.
        seed_sd: standard deviation of the pairs; NaN for n = 1.
        image_sd: standard error that no number of seeds lessens: of the images that all of them are tested on.
    """

    n: int
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_wilcoxon: float
    p_equivalence: float
    probability_better: float
    seed_sd: float
    image_sd: float


@dataclass(frozen=True)
class ImageNoise:
    """How paired differences vary when the images are drawn anew.

    Attributes:
        of_mean: (...), variance of the mean over the seeds.
        of_each: (...), variance of one seed's difference, averaged over the seeds.
        images: how many there are.
    """

    of_mean: np.ndarray
    of_each: np.ndarray
    images: int


class PairedSample:
    """A difference gathered seed by seed, on the images as they are and on resamples of them.

    Memory does not grow with the seeds.
    """

    def __init__(self, images: int) -> None:
        """Begin without a seed; `images` is their number."""
        self.images = images
        self.differences: list[float] = []
        self._total: np.ndarray | float = 0.0
        self._variances: list[float] = []

    def add(self, difference: float, resampled: np.ndarray) -> None:
        """Add one seed: its difference, and that on every resample, (B,), of `image_weights`."""
        self.differences.append(float(difference))
        self._total = self._total + resampled
        self._variances.append(resampled_variance(resampled, self.images))

    @property
    def is_zero(self) -> bool:
        """Whether no seed and no resample shows a difference: the two are the same."""
        return not any(self.differences) and not any(self._variances)

    def contrast(self, margin: float, higher_is_better: bool = True, level: float = LEVEL) -> Contrast:
        """Summarise the seeds, see `contrast`."""
        n = len(self.differences)
        of_mean = resampled_variance(np.asarray(self._total) / n, self.images)
        noise = ImageNoise(of_mean, np.mean(self._variances), self.images)
        return contrast(np.array(self.differences), noise, margin, higher_is_better, level)


def image_weights(images: int, resamples: int, seed: int) -> np.ndarray:
    """Return how much each image weighs in each resample of the Bayesian bootstrap (Rubin 1981), (resamples, images).

    float32, a row sums to `images`. Weights are above 0, so a class that few images hold is in every resample and a
    mean over classes is always over the same ones; of resamples that leave images out, a third would lack a class that
    is in one image.
    """
    weights = np.random.default_rng(seed).standard_exponential((resamples, images), dtype=np.float32)
    weights *= images / weights.sum(axis=1, keepdims=True)
    return weights


def resampled_variance(values: np.ndarray, images: int) -> float:
    """Return the sampling variance that values on resamples of `image_weights` show, (B,) -> float.

    That of a weighted mean is sum (x - mean)^2 / (N (N + 1)) (Rubin 1981, sec. 2), an unbiased one has N (N - 1).
    """
    return float(values.var(ddof=1)) * (images + 1) / (images - 1) if images > 1 else 0.0


def standard_errors(differences: np.ndarray, noise: ImageNoise) -> tuple[np.ndarray, np.ndarray]:
    """Return two standard errors (2, ...) of the mean difference, and their degrees of freedom.

    First, over seeds and images. A seed's difference is the sum of what the seed gives, what the images give to every
    seed, and what this seed finds in these images (seed x image). s^2 / n has the first and the last; drawing the
    images anew moves the mean over seeds by the last two, V. So the variance is s^2 / n + V - (E - V) / (n - 1), with E
    the variance of a single seed's difference between draws: (E - V) / (n - 1) is the share of the last in both, which
    s^2 / n + V counts twice. Its degrees of freedom are Satterthwaite's (1946) for s^2 / n, with n - 1, and for the
    rest, what the images give to every seed, with N - 1.

    Second, over seeds alone, with n - 1: with 3 seeds that happen to lie close, the first has too many degrees of
    freedom. Intervals and tests go by the more cautious of the two.

    Args:
        differences: (..., n), one per seed.
        noise: of the images, (...).
    """
    n = differences.shape[-1]
    if n < 2:
        nothing = np.full((2, *differences.shape[:-1]), np.nan)
        return nothing, nothing
    of_seeds, of_images = differences.var(axis=-1, ddof=1) / n, shared_variance(noise, n)
    total = of_seeds + of_images
    squares = of_seeds**2 / (n - 1) + np.square(of_images) / max(1, noise.images - 1)
    freedom = np.divide(total**2, squares, out=np.full(total.shape, n - 1.0), where=squares > 0)
    return np.sqrt([total, of_seeds]), np.stack([freedom, np.full(total.shape, n - 1.0)])


def shared_variance(noise: ImageNoise, n: int) -> np.ndarray:
    """Return the variance of what the images give to every one of n seeds, at least 0; see `standard_errors`."""
    if n < 2:
        return np.asarray(noise.of_mean)
    return np.maximum(0, noise.of_mean - (noise.of_each - noise.of_mean) / (n - 1))


def half_width(error: np.ndarray, freedom: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return half the width of the interval that covers 1 - level; (2, ...) -> (...)."""
    return (stats.t.ppf(1 - level / 2, freedom) * error).max(axis=0)


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
    differences: np.ndarray, noise: ImageNoise, margin: float, higher_is_better: bool = True, level: float = LEVEL
) -> Contrast:
    """Summarise paired differences.

    Args:
        differences: (n,), one per seed, on the images as they are.
        noise: of drawing the images anew.
        margin: differences within +-margin count as equivalent.
        higher_is_better: which sign favours the arm.
        level: the interval covers 1 - level.
    """
    n, mean = len(differences), float(differences.mean())
    if not np.isfinite(mean):
        return Contrast(n, *[float("nan")] * 9)
    error, freedom = standard_errors(differences, noise)
    reach = half_width(error, freedom, level)
    favour = np.sign(differences) if higher_is_better else -np.sign(differences)
    return Contrast(
        n=n,
        difference=mean,
        ci_low=float(mean - reach),
        ci_high=float(mean + reach),
        p_value=float(t_test(mean, error, freedom)),
        p_wilcoxon=signed_rank_test(differences),
        p_equivalence=float(equivalence_test(mean, error, freedom, margin)),
        probability_better=float((favour + 1).mean() / 2),
        seed_sd=float(differences.std(ddof=1)) if n > 1 else float("nan"),
        image_sd=float(np.sqrt(shared_variance(noise, n))),
    )


def seeds_needed(seed_sd: float, image_sd: float, margin: float, level: float = LEVEL) -> float:
    """Return the fewest seeds, 3 or more, with which a difference of the margin is found in 4 of 5 experiments.

    By the noncentral t distribution (Cohen 1988, chapter 2) of a two-sided test at `level`, with n - 1 degrees of
    freedom and the variance seed_sd^2 / n + image_sd^2. Infinite if no number of seeds does, because the test images
    alone leave more doubt, or none up to 10,000 does.
    """

    def power(n: int) -> float:
        error = np.sqrt(seed_sd**2 / n + image_sd**2)
        if error == 0:
            return 1.0
        bound, centre = stats.t.ppf(1 - level / 2, n - 1), margin / error
        return 1.0 if centre > 10 * bound else float(stats.nct.sf(bound, n - 1, centre))  # nct fails far out

    if not np.isfinite([seed_sd, image_sd]).all() or power(MOST_SEEDS) < POWER:
        return float("inf")
    low, high = MINIMUM_SEEDS - 1, MINIMUM_SEEDS  # power rises with n
    while power(high) < POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if power(middle) < POWER else (low, middle)
    return float(high)


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


def decide(p_equivalence: np.ndarray, p_value: np.ndarray, gain: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return what the data say of "the arm is better": supported, refuted, equivalent or undecided.

    equivalent: TOST rejects a difference of the margin or more. supported / refuted: the p-value is below `level`.
    Anything else is undecided.

    Args:
        p_equivalence, p_value: adjusted within their family.
        gain: the difference, positive where the arm is better.
    """
    is_claimed, gain = np.asarray(p_value) < level, np.asarray(gain)
    conditions = [np.asarray(p_equivalence) < level, is_claimed & (gain > 0), is_claimed & (gain < 0)]
    return np.select(conditions, ["equivalent", "supported", "refuted"], default="undecided")
