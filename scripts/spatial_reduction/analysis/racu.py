"""One number per arm over all thresholds: the relative area between its curve and that of random pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spatial_reduction.analysis.comparators import Setting
from spatial_reduction.analysis.statistics import contrast

RANDOM = "random"  # arm that keeps as many pixels, drawn at random
COLUMNS = ["arm", "n", "thresholds", "area", "ci_low", "ci_high", "racu"]


def measure_relative_areas(scores: Mapping[Setting, Sequence[float]], margin: float) -> list[dict[str, Any]]:
    """Return, per arm, the area between its curve of scores over thresholds and random's, absolute and relative.

    With x_i the removed per cent (100 - threshold, in rising order), p_i the arm's score and b_i random's, both means
    over the seeds, and b_I random's score where most is removed:

        RACU = sum 1/2 dx_i (d_i + d_(i+1)) / sum 1/2 dx_i (e_i + e_(i+1)),  d_i = p_i - b_i,  e_i = b_i - b_I

    After RACU of Madsen et al. (arXiv 2110.08412), in which the salient is removed; here it is kept, so d has the other
    sign and a ranking better than chance is above 0. `racu` is NaN where random loses nothing. `area` is the numerator
    divided by the range of x: the mean difference in points, with a t interval over the seeds (n).

    Args:
        scores: of every (arm, threshold), one score per seed, in points. Without the arm `random`, and for an arm that
            shares fewer than two thresholds with it, there is no row.
    """
    rows = []
    for arm in dict.fromkeys(arm for arm, _ in scores):
        shared = [at for name, at in scores if name == arm and (RANDOM, at) in scores]
        if arm == RANDOM or len(shared) < 2:
            continue
        shared.sort(key=float, reverse=True)
        removed = 100 - np.array(shared, dtype=float)
        ours, chance = (np.array([scores[name, at] for at in shared]) for name in (arm, RANDOM))  # (thresholds, n)
        areas = np.trapezoid(ours - chance, removed, axis=0)
        means = chance.mean(axis=1)
        scale = np.trapezoid(means - means[-1], removed)
        result = contrast(areas / np.ptp(removed), image_variance=0.0, images=1, margin=margin)
        values = [result.difference, result.ci_low, result.ci_high, areas.mean() / scale if scale > 0 else np.nan]
        rows.append(dict(zip(COLUMNS, [arm, result.n, " ".join(shared), *values], strict=True)))
    return rows
