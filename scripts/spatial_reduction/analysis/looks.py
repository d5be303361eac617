"""Group-sequential tests: how much of the level each look at growing data may spend (alpha spending). No torch.

With `seeds: {looks: [5, 8, 12]}` the primary contrast is tested after 5, 8 and 12 seeds. Tests at .05 each time would
have a type I error above 5 %; alpha spending keeps it at 5 % over all looks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from spatial_reduction.analysis.statistics import LEVEL
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole

POINTS = 801  # of the grid on which the density of the statistic is carried from look to look
FARTHEST = 37.0  # standard deviations; a little farther, what lies beyond is 0 in double precision


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
    before, is what `spent_level` allows from look k - 1 to k. A look so early that this is no number of double
    precision claims nothing.

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
    unclaimed = _Unclaimed()
    for fraction, share in zip(fractions, allowed, strict=True):
        excess = partial(_excess, unclaimed, fraction, share)
        bound = brentq(excess, 0.0, FARTHEST) if excess(FARTHEST) < 0 else FARTHEST
        levels.append(float(2 * ndtr(-bound)))
        unclaimed = unclaimed.after(fraction, bound)
    return levels


def claims_where_nothing_is(seeds: Sequence[int], level: float = LEVEL) -> float:
    """Return the type I error of repeated tests at `level`: the share of experiments without an effect that claim one.

    Args:
        seeds: numbers of seeds at which the same growing data were tested, rising. Five equal steps at .05 claim
            14.2 % (Armitage, McPherson and Rowe 1969, table 2).
    """
    unclaimed, bound, claimed = _Unclaimed(), float(-ndtri(level / 2)), 0.0
    for count in seeds:
        claimed += unclaimed.claims(count / seeds[-1], bound)
        unclaimed = unclaimed.after(count / seeds[-1], bound)
    return claimed


@dataclass(frozen=True)
class _Unclaimed:
    """The Brownian motion at a fraction of the seeds, among the paths that made no claim yet: weights on a grid."""

    grid: np.ndarray = field(default_factory=lambda: np.zeros(1))
    weights: np.ndarray = field(default_factory=lambda: np.ones(1))
    fraction: float = 0.0

    def claims(self, fraction: float, bound: float) -> float:
        """Return the share of all paths that first exceed a bound, in standard deviations, at a later fraction."""
        deviation, edge = np.sqrt(fraction - self.fraction), bound * np.sqrt(fraction)
        beyond = ndtr((self.grid - edge) / deviation) + ndtr((-edge - self.grid) / deviation)
        return float((self.weights * beyond).sum())

    def after(self, fraction: float, bound: float) -> "_Unclaimed":
        """Return the paths that do not exceed it there."""
        deviation, edge = np.sqrt(fraction - self.fraction), bound * np.sqrt(fraction)
        inside = np.linspace(-edge, edge, POINTS)
        steps = (inside[:, None] - self.grid[None, :]) / deviation
        density = np.exp(-0.5 * steps**2) / (deviation * np.sqrt(2 * np.pi)) @ self.weights
        widths = np.full(POINTS, inside[1] - inside[0])
        widths[[0, -1]] /= 2
        return _Unclaimed(inside, density * widths, fraction)


def _excess(unclaimed: _Unclaimed, fraction: float, share: float, bound: float) -> float:
    return unclaimed.claims(fraction, bound) - share


def remember_comparison(path: str | Path, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Add a comparison to those that were made in these results: JSON, a list of {seed: {setting: score}}.

    A comparison that is listed already, with the same scores, is not a new look and is not added again.

    Args:
        scores: {seed: {setting: score that decides hypothesis 1}}, of the method and the primary comparator.

    Raises:
        InputError: the file is damaged.
    """
    made = _read_comparisons(path) if Path(path).exists() else []
    if scores in made:
        made.remove(scores)  # the current comparison comes last
    with written_whole(path) as file:
        file.write_text(json.dumps([*made, scores], indent=1), encoding="utf-8")


def read_earlier_looks(path: str | Path) -> list[int]:
    """Return the numbers of seeds, rising, with which the last comparison was made before.

    These are the comparisons of fewer seeds whose scores are among those of the last one. Models that were trained
    anew have other scores, which nobody has looked at.

    Args:
        path: written by `remember_comparison`.

    Raises:
        InputError: the file is damaged.
    """
    *earlier, last = _read_comparisons(path)
    return sorted({len(scores) for scores in earlier if _is_part(scores, last)})


def _is_part(scores: Mapping[str, Mapping[str, float]], whole: Mapping[str, Mapping[str, float]]) -> bool:
    return len(scores) < len(whole) and all(
        seed in whole and found.keys() & whole[seed].keys() and (found | whole[seed]) == (whole[seed] | found)
        for seed, found in scores.items()
    )


def _read_comparisons(path: str | Path) -> list[dict[str, dict[str, float]]]:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path}: is damaged; delete it, and earlier comparisons are not counted as looks") from None


def level_of(look: Sequence[str | Path]) -> float:
    """Return the level of the look whose file `contrasts.decide_look` wrote; without a file .05."""
    return float(json.loads(Path(look[0]).read_text(encoding="utf-8"))["level"]) if look else LEVEL
