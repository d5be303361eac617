"""Draw experiments with a known effect and put them through the statistics of the workflow, many at once."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from spatial_reduction.analysis.statistics import (
    adjust_holm,
    decide,
    equivalence_test,
    half_width,
    image_weights,
    standard_errors,
    t_test,
)

LOT = 200  # experiments drawn at once: about 100 MB


@dataclass(frozen=True)
class Design:
    """One arm at several thresholds against one comparator; all numbers in points.

    Attributes:
        seeds, images, thresholds: how many.
        effect: true mean difference over all seeds and images, the same at every threshold.
        seed_spread: standard deviation over seeds of a difference.
        image_spread: standard deviation of a mean difference over draws of the test images.
        margin: of equivalence.
    """

    seeds: int
    images: int = 200
    thresholds: int = 5
    effect: float = 0.0
    seed_spread: float = 1.0
    image_spread: float = 0.5
    margin: float = 0.5


@dataclass(frozen=True)
class Outcome:
    """Attributes:
    decisions: (experiments, thresholds), see `statistics.decide`.
    covered: bool (experiments, thresholds), the interval holds the true effect.
    """

    decisions: np.ndarray
    covered: np.ndarray

    @property
    def claims(self) -> np.ndarray:
        """Whether anything is called supported or refuted at any threshold, bool (experiments,)."""
        return np.isin(self.decisions, ["supported", "refuted"]).any(axis=1)


def simulate(design: Design, experiments: int, seed: int = 0, resamples: int = 300) -> Outcome:
    """Run a design many times.

    The score of a model on an image is the sum of what the arm, its seed and the image, as the arm sees it, give;
    all seeds of an arm meet the same images. The comparator's contributions are shared by all thresholds, which makes
    their differences correlated (.5), as in a real run.
    """
    rng = np.random.default_rng(seed)
    weights = image_weights(design.images, resamples, seed).astype(np.float64) / design.images
    lots = [_simulate(design, min(LOT, experiments - start), rng, weights) for start in range(0, experiments, LOT)]
    return Outcome(*(np.concatenate(parts) for parts in zip(*lots, strict=True)))


def _simulate(
    design: Design, experiments: int, rng: np.random.Generator, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    of_seeds = _differences(rng, (experiments, design.thresholds, design.seeds), design.seed_spread)
    per_image = design.image_spread * np.sqrt(design.images)
    of_images = _differences(rng, (experiments, design.thresholds, design.images), per_image)
    differences = design.effect + of_seeds + of_images.mean(axis=-1, keepdims=True)
    variances = (of_images @ weights.T).var(axis=-1, ddof=1)
    mean, errors = differences.mean(axis=-1), standard_errors(differences, variances, design.images)
    p_holm = adjust_holm(t_test(mean, *errors))
    decisions = decide(equivalence_test(mean, *errors, design.margin), p_holm, mean)
    return decisions, np.abs(mean - design.effect) <= half_width(*errors)


def _differences(rng: np.random.Generator, shape: tuple[int, int, int], spread: float) -> np.ndarray:
    """Draw arm minus comparator; the comparator is the same at all thresholds."""
    experiments, thresholds, units = shape
    drawn = rng.standard_normal((experiments, thresholds + 1, units)) * spread / np.sqrt(2)
    return drawn[:, 1:] - drawn[:, :1]


def binomial_interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934)."""
    found = stats.binomtest(int(hits), n).proportion_ci(confidence_level=level, method="exact")
    return float(found.low), float(found.high)
