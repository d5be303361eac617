"""How much of the level each look at growing data may spend: group-sequential tests. No torch.

With `seeds: {looks: [5, 8, 12]}` the primary contrast is tested after 5, 8 and 12 seeds. Tests at .05 each time claim
an effect that is not there in more than 5 % of experiments; spending the level keeps it at 5 % over all looks.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from spatial_reduction.analysis.statistics import LEVEL

POINTS = 801  # of the grid on which the density of the statistic is carried from look to look
REACH = 8.0  # standard deviations that the grid spans


def spent_level(fraction: float, level: float) -> float:
    """Return the two-sided level that is spent when this fraction of the planned seeds is there.

    On each side 2 - 2 Phi(z / sqrt(fraction)), z the upper quarter point of `level`: the O'Brien-Fleming type of Lan
    and DeMets 1983 (Biometrika 70, 659-663). Little is spent early, nearly all at the end.
    """
    return float(4 * ndtr(-ndtri(1 - level / 4) / np.sqrt(fraction)))


def look_levels(seeds: Sequence[int], level: float = LEVEL) -> list[float]:
    """Return the two-sided level at which a p-value is compared at each look, so that all looks together have `level`.

    The statistics of the looks are those of a Brownian motion at the fractions seeds[k] / seeds[-1]: independent
    increments (Armitage, McPherson and Rowe 1969). Level k is set so that the chance to claim at look k, and not
    before, is what `spent_level` allows from look k - 1 to k.

    Args:
        seeds: number of seeds at each look, rising; the last look is at the last one.

    Raises:
        ValueError: the numbers do not rise.
    """
    if any(later <= earlier for earlier, later in pairwise(seeds)) or seeds[0] < 1:
        raise ValueError(f"looks {list(seeds)} do not rise")
    fractions = [count / seeds[-1] for count in seeds]
    allowed = np.diff([0.0, *(spent_level(fraction, level) for fraction in fractions)])
    levels: list[float] = []
    grid, density = np.zeros(1), np.ones(1)  # of the Brownian motion among the paths that made no claim yet
    before = 0.0
    for fraction, share in zip(fractions, allowed, strict=True):
        deviation, width = np.sqrt(fraction - before), np.sqrt(fraction)

        def claims(bound: float, deviation=deviation, width=width, grid=grid, density=density) -> float:
            above = ndtr((grid - bound * width) / deviation) + ndtr((-bound * width - grid) / deviation)
            return float((density * above).sum())

        bound = brentq(lambda z, claims=claims, share=share: claims(z) - share, 0.0, REACH + 2)
        levels.append(float(2 * ndtr(-bound)))
        inside = np.linspace(-bound * width, bound * width, POINTS)
        spread = np.exp(-0.5 * ((inside[:, None] - grid[None, :]) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        step = inside[1] - inside[0]
        weights = np.full(POINTS, step)
        weights[[0, -1]] = step / 2
        grid, density, before = inside, (spread @ density) * weights, fraction
    return levels


def level_of(look: Sequence[str | Path]) -> float:
    """Return the level of the look whose file `contrasts.decide_look` wrote; without a file that of a plain test."""
    return float(json.loads(Path(look[0]).read_text(encoding="utf-8"))["level"]) if look else LEVEL
