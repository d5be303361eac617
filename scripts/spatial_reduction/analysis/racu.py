"""One number per arm over all thresholds: the relative area between its curve and that of random pixels."""

from collections.abc import Mapping, Sequence

import numpy as np

from spatial_reduction.analysis.comparators import Setting

RANDOM = "random"  # arm that keeps as many pixels, chosen at random
COLUMNS = ["arm", "n", "thresholds", "area_over_random", "ci_low", "ci_high", "racu"]


def find_areas(settings: Sequence[Setting], removed: Mapping[Setting, float]) -> dict[str, list[str]]:
    """Return, per arm, the thresholds at which `random` removes as much, sorted by the removed share.

    Arms that share fewer than two have none.

    Args:
        removed: per cent removed in the last iteration.
    """
    areas = {}
    for arm in dict.fromkeys(arm for arm, _ in settings if arm != RANDOM):
        shared = [
            at
            for name, at in settings
            if name == arm and (RANDOM, at) in settings and removed.get((arm, at)) == removed.get((RANDOM, at), np.nan)
        ]
        if len({removed[arm, at] for at in shared}) > 1:
            areas[arm] = sorted(shared, key=lambda at: removed[arm, at])
    return areas


def area_weights(removed: Sequence[float]) -> np.ndarray:
    """Return the weights with which a sum over the points is the mean height of straight lines through them, (T,)."""
    steps = np.diff(removed)
    return (np.append(steps, 0) + np.append(0, steps)) / (2 * (removed[-1] - removed[0]))


def relative_area(
    scores: Sequence[Sequence[float]],
    chance: Sequence[Sequence[float]],
    intact: Sequence[float] | None,
    removed: Sequence[float],
    margin: float,
) -> float:
    """Return RACU, the relative area between an arm's curve of scores and random's (Madsen et al., arXiv 2110.08412).

    With x_0 = 0 per cent removed, x_i the removed share (rising), p_i the arm's score and b_i random's, with the same
    seed, b_0 = p_0 the score with nothing removed and b_I random's score where most is removed:

        RACU = sum 1/2 dx_i (d_i + d_(i+1)) / sum 1/2 dx_i (e_i + e_(i+1)),  d_i = p_i - b_i,  e_i = b_i - b_I

    one ratio per seed, clipped to [-1, 1], then their mean, as the authors compute it. They remove the salient pixels,
    which are kept here: d has the opposite sign, and a ranking better than chance is above 0. NaN without a score of
    intact images, and where random hardly falls: with some seed, the mean of e is not above the margin.

    Args:
        scores, chance: (T, n), one row per threshold, in points.
        intact: (n,).
        removed: (T,), per cent.
    """
    if intact is None:
        return float("nan")
    ours, random = (np.vstack([intact, some]) for some in (scores, chance))  # (1 + T, n)
    weights = area_weights([0.0, *removed])
    falls = weights @ (random - random[-1])
    if not (falls > margin).all():
        return float("nan")
    return float(np.clip(weights @ (ours - random) / falls, -1, 1).mean())
