"""Paired statistics over seeds: intervals, tests, equivalence, correction for many comparisons.

Functions of `differences (..., n)` work on many contrasts at once; the n values of the last axis are the seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special, stats

LEVEL = 0.05  # of every test; intervals cover 1 - LEVEL
MINIMUM_SEEDS = 3  # for any claim: with two the interval of a mean is 13 standard errors to either side
HALVINGS = 50  # of an interval that holds a quantile
POWER, MOST_SEEDS = 0.8, 10_000  # of the plan of a further experiment
FEWEST_SEEDS = 6  # an exact two-sided Wilcoxon test of n pairs cannot fall below 2 / 2^n: .0625 at 5, .03125 at 6


@dataclass(frozen=True)
class Contrast:
    """The paired difference of two arms, in the unit of the values.

    Attributes:
        n: pairs (seeds).
        difference: mean over the pairs; NaN, as all that follows from it, if one pair has none.
        ci_low, ci_high: 95 % interval over seeds and test images; NaN for n = 1.
        p_value: two-sided t test with the interval's error: below .05 where the interval leaves out 0. Where the
            images add no variance it is the paired t test on the seeds' values.
        p_wilcoxon: exact two-sided Wilcoxon signed-rank test on the seeds' values.
        p_equivalence: two one-sided tests (TOST) against the margin, with the interval's error.
        probability_better: share of the pairs in which the arm is better, ties counted half.
        seed_sd: standard deviation of the pairs; NaN for n = 1.
        image_sd: standard error due to the test images, which all seeds share: more seeds do not reduce it.
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
    """How paired differences vary when the images are resampled.

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


@dataclass(frozen=True)
class Spread:
    """The standard error of a mean difference and what it is made of, each (...).

    Attributes:
        error: standard error over seeds and images; NaN for one seed.
        seed_share: share of the variance that is s^2 / n, estimated with `seed_freedom` degrees of freedom; that of the
            images with `image_freedom`.
    """

    error: np.ndarray
    seed_share: np.ndarray
    seed_freedom: int
    image_freedom: int


def spread_of_mean(differences: np.ndarray, noise: ImageNoise) -> Spread:
    """Return the spread of the mean difference, over seeds and images.

    A seed's difference is the sum of what the seed gives, what the images give to every seed, and what this seed finds
    in these images (seed x image). s^2 / n has the first and the last; drawing the images anew moves the mean over
    seeds by the last two, V. So the variance is s^2 / n + V - (E - V) / (n - 1), with E the variance of a single seed's
    difference between draws: (E - V) / (n - 1) is the share of the last in both, which s^2 / n + V counts twice.

    Args:
        differences: (..., n), one per seed.
        noise: of the images, (...).
    """
    n = differences.shape[-1]
    if n < 2:
        nothing = np.full(differences.shape[:-1], np.nan)
        return Spread(nothing, nothing, n - 1, max(1, noise.images - 1))
    of_seeds, of_images = differences.var(axis=-1, ddof=1) / n, shared_variance(noise, n)
    total = of_seeds + of_images
    share = np.divide(of_seeds, total, out=np.ones_like(total), where=total > 0)
    return Spread(np.sqrt(total), share, n - 1, max(1, noise.images - 1))


def shared_variance(noise: ImageNoise, n: int) -> np.ndarray:
    """Return the variance of what the images give to every one of n seeds, at least 0; see `spread_of_mean`."""
    if n < 2:
        return np.asarray(noise.of_mean)
    return np.maximum(0, noise.of_mean - (noise.of_each - noise.of_mean) / (n - 1))


def upper_tail(size: np.ndarray, spread: Spread) -> np.ndarray:
    """Return the one-sided p-value of a mean that is `size` above what is tested.

    The mean over the two sources of variance, weighted by their shares, of the p-values that Student's t has with the
    degrees of freedom of each: Cochran's (1964, Biometrics 20, 191-195) weights. Satterthwaite's (1946) single t claims
    too much where seeds give two thirds of the variance: 5.7 % at n = 5 instead of 5; this 4.2 % there, never above 5.
    Without any spread it is 0 above, 1 below and .5 at what is tested.
    """
    size = np.asarray(size, dtype=float)
    edge = np.where(size > 0, np.inf, np.where(size < 0, -np.inf, 0.0))
    ratio = np.divide(size, spread.error, out=edge, where=spread.error != 0)
    of_seeds, of_images = (special.stdtr(freedom, -ratio) for freedom in (spread.seed_freedom, spread.image_freedom))
    return spread.seed_share * of_seeds + (1 - spread.seed_share) * of_images


def half_width(spread: Spread, level: float = LEVEL) -> np.ndarray:
    """Return half the width of the interval that covers 1 - level, (...): where `t_test` gives that p-value."""
    low, high = np.zeros_like(spread.error), np.full_like(spread.error, special.stdtrit(1, 1 - level / 2))
    for _ in range(HALVINGS):  # in units of the error: the tail falls with the distance
        middle = (low + high) / 2
        is_inside = upper_tail(middle, replace(spread, error=np.ones_like(spread.error))) > level / 2
        low, high = np.where(is_inside, middle, low), np.where(is_inside, high, middle)
    return spread.error * (low + high) / 2


def t_test(mean: np.ndarray, spread: Spread) -> np.ndarray:
    """Return the two-sided p-value of a mean, (...), below .05 where the interval leaves out 0."""
    return np.minimum(1, 2 * upper_tail(np.abs(mean), spread))


def equivalence_test(mean: np.ndarray, spread: Spread, margin: float) -> np.ndarray:
    """Return the p-value of two one-sided tests (Schuirmann 1987): small where the mean lies within +-margin."""
    return upper_tail(margin - np.abs(mean), spread)


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
    spread = spread_of_mean(differences, noise)
    reach = half_width(spread, level)
    favour = np.sign(differences) if higher_is_better else -np.sign(differences)
    return Contrast(
        n=n,
        difference=mean,
        ci_low=float(mean - reach),
        ci_high=float(mean + reach),
        p_value=float(t_test(mean, spread)),
        p_wilcoxon=signed_rank_test(differences),
        p_equivalence=float(equivalence_test(mean, spread, margin)),
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
