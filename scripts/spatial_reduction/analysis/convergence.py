"""How fast arms learn, from their learning curves: `convergence.csv`, and the contrasts of hypothesis 2.

Curves are compared from where they part. Before that, to the end of iteration 1 for arms that share it, they are one
and the same training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spatial_reduction.analysis.comparators import pair_settings
from spatial_reduction.analysis.measures import margin_of
from spatial_reduction.analysis.statistics import PairedSample, signed_rank_test
from spatial_reduction.analysis.tables import CHAIN
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say

LEVELS = (90, 95, 99)  # per cent of the lower of two final scores
STEPS, SCORE = "cumulative_steps", "validation_mean_iou"
AREAS = {"validation_area": "steps", "validation_area_pixels": "pixels"}  # measure: what the curve is drawn against


@dataclass(frozen=True)
class Curve:
    """The learning curve of a chain, its iterations joined; arrays are by epoch, (E,).

    Attributes:
        steps: cumulative optimiser steps.
        pixels: cumulative kept pixels, in whole images.
        score: validation mean IoU, in points.
        resampled: (B, E), the same on resamples of the validation images.
        table: all columns of `history.csv`.
        images: number of validation images.
    """

    steps: np.ndarray
    pixels: np.ndarray
    score: np.ndarray
    resampled: np.ndarray
    table: pd.DataFrame
    images: int

    @property
    def final(self) -> float:
        """Score of the last epoch."""
        return float(self.score[-1])

    def first_reaching(self, target: float) -> int:
        """Return the first epoch, from 0 on, whose score is at least the target, which is no higher than `final`."""
        return int((self.score >= target).argmax())


def measure_convergence(history: str | Path, kept_pixels: str | Path, comparator: str, output: str | Path) -> None:
    """Write one row per chain and level: when it and the comparator first reach the same score, and its area.

    The target is the level (per cent) of the lower of the two final scores, of the chain and of the comparator with
    the same seed (at its first threshold if it has several): both reach it, and to exchange them changes nothing.

    Columns: arm, threshold, seed, level, target (mean IoU), steps, images, seconds (of the chain, cumulative),
    comparator_steps, area (mean height of the curve over the chain's own steps) and final (mean IoU of the last epoch).

    Args:
        history, kept_pixels: `history.csv`, `kept_pixels.csv`.
    """
    curves = read_curves(*(pd.read_csv(path, dtype={"threshold": str}) for path in (history, kept_pixels)))
    theirs = [chain for chain in curves if chain[0] == comparator]
    others = {seed: curves[arm, at, seed] for arm, at, seed in theirs if at == theirs[0][1]}
    rows = []
    for chain, curve in curves.items():
        other = others[chain[2]]
        area = curve.score @ integral_weights(curve.steps, curve.steps[0], curve.steps[-1]) / 100
        for level in LEVELS:
            target = level / 100 * min(curve.final, other.final)
            first = curve.table.iloc[curve.first_reaching(target)]
            row = dict(zip(CHAIN, chain, strict=True)) | {"level": level, "target": target / 100}
            row |= {"steps": first[STEPS], "images": first["cumulative_images"], "seconds": first["cumulative_seconds"]}
            row |= {"comparator_steps": other.steps[other.first_reaching(target)]}
            rows.append(row | {"area": area, "final": curve.final / 100})
    with written_whole(output) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)
    say(f"{output}: {len(curves)} learning curves")


def read_curves(history: pd.DataFrame, kept_pixels: pd.DataFrame) -> dict[tuple[str, str, int], Curve]:
    """Return the learning curve of every (arm, threshold, seed).

    Args:
        history, kept_pixels: `history.csv`, `kept_pixels.csv`. What an iteration without a mask sees is whole images.
    """
    kept = kept_pixels[kept_pixels["measure"] == "kept_share"].set_index([*CHAIN, "iteration"])["value"] / 100
    curves = {}
    for chain, table in history.groupby(CHAIN, sort=False):
        table = table.sort_values(STEPS)
        shares = [kept.get((*chain, iteration), 1.0) for iteration in table["iteration"]]
        score = 100 * table[SCORE].to_numpy(dtype=float)
        curves[chain] = Curve(
            steps=table[STEPS].to_numpy(dtype=float),
            pixels=np.cumsum(np.diff(table["cumulative_images"], prepend=0) * shares),
            score=score,
            resampled=np.stack([score, score]),
            table=table,
            images=1,
        )
    return curves


def integral_weights(x: np.ndarray, first: float, last: float) -> np.ndarray:
    """Return w (E,) such that w @ y is the mean height between first and last of straight lines through (x, y).

    Both ends lie within x. With no range at all it is the height there.
    """
    if last <= first or len(x) == 1:
        return np.array([np.interp(first, x, unit) for unit in np.eye(len(x))])
    return (_integrals_to(x, last) - _integrals_to(x, first)) / (last - first)


def _integrals_to(x: np.ndarray, end: float) -> np.ndarray:
    steps, weights = np.diff(x), np.zeros(len(x))
    whole = int(np.clip(np.searchsorted(x, end, side="right") - 1, 0, len(steps) - 1))  # intervals before the end's own
    weights[:whole] += steps[:whole] / 2
    weights[1 : whole + 1] += steps[:whole] / 2
    part = (end - x[whole]) / steps[whole]
    weights[whole] += steps[whole] * (part - part**2 / 2)
    weights[whole + 1] += steps[whole] * part**2 / 2
    return weights


def shared_epochs(ours: Curve, theirs: Curve) -> int:
    """Return how many epochs two curves begin with that are one and the same."""
    common = min(len(ours.steps), len(theirs.steps))
    same = [getattr(ours, name)[:common] == getattr(theirs, name)[:common] for name in ("steps", "score")]
    return int(np.logical_and(*same).cumprod().sum())


def area_difference(ours: Curve, theirs: Curve, against: str) -> tuple[float, np.ndarray] | None:
    """Return the difference of the mean heights from where two curves part to where one ends, and on resamples, (B,).

    None if nothing is left to compare.

    Args:
        against: `steps` or `pixels`.
    """
    x, other = getattr(ours, against), getattr(theirs, against)
    shared = shared_epochs(ours, theirs)
    first, last = max(x[max(shared - 1, 0)], other[max(shared - 1, 0)]), min(x[-1], other[-1])
    if last <= first:
        return None
    weights, less = integral_weights(x, first, last), integral_weights(other, first, last)
    return float(ours.score @ weights - theirs.score @ less), ours.resampled @ weights - theirs.resampled @ less


def compare_convergence(
    history: pd.DataFrame, kept_pixels: pd.DataFrame, evaluation: Mapping[str, Any], report: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the contrasts of convergence as rows of `contrasts.csv` and `interactions.csv`, not judged.

    `validation_area`, `validation_area_pixels`, in points: see `area_difference`, over optimiser steps and over kept
    pixels. `steps_to_95`: median difference of the steps to 95 % of the lower of the two final scores, tested by
    Wilcoxon's signed ranks; no interval. Where nothing is left to compare the two are the same.
    """
    curves = read_curves(history, kept_pixels)
    settings, seeds = list(dict.fromkeys(chain[:2] for chain in curves)), list(dict.fromkeys(c[2] for c in curves))
    method, primary = report["method"], evaluation["comparators"][0]
    rows, main = [], {}
    for ours, theirs in pair_settings(settings, evaluation["comparators"], evaluation["controls"], method):
        pairs = [(curves[*ours, seed], curves[*theirs, seed]) for seed in seeds]
        place = {"arm": ours[0], "threshold": ours[1], "comparator": theirs[0], "comparator_threshold": theirs[1]}
        place |= {"protocol": "validation", "class": "all"}
        for measure, against in AREAS.items():
            found = [area_difference(*pair, against) for pair in pairs]
            rows.append(place | {"measure": measure} | _area_contrast(found, pairs[0][0].images, measure, evaluation))
            if measure == "validation_area" and (ours[0], theirs[0]) == (method, primary) and None not in found:
                main[ours[1]] = found, pairs[0][0].images
        rows.append(place | {"measure": "steps_to_95"} | _steps_contrast(pairs))
    return rows, list(_between_thresholds(main, evaluation))


def _between_thresholds(main: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for (threshold, (ours, images)), (other, (theirs, _)) in combinations(main.items(), 2):
        sample = PairedSample(images)
        for (value, resampled), (less, resampled_less) in zip(ours, theirs, strict=True):
            sample.add(value - less, resampled - resampled_less)
        place = {"measure": "validation_area", "protocol": "validation", "class": "all"}
        result = asdict(sample.contrast(margin_of("validation_area", evaluation["margins"])))
        yield place | {"threshold": threshold, "other_threshold": other} | result


def _area_contrast(
    found: Sequence[tuple[float, np.ndarray] | None], images: int, measure: str, evaluation: Mapping[str, Any]
) -> dict[str, Any]:
    sample = PairedSample(images)
    for difference in found:
        sample.add(*(difference or (0.0, np.zeros(2))))
    if found.count(None) == len(found):
        return {"n": len(found), "is_same": True}
    return {"is_same": sample.is_zero} | asdict(sample.contrast(margin_of(measure, evaluation["margins"])))


def _steps_contrast(pairs: Sequence[tuple[Curve, Curve]]) -> dict[str, Any]:
    differences = []
    for pair in pairs:
        target = 0.95 * min(curve.final for curve in pair)
        ours, theirs = (curve.steps[curve.first_reaching(target)] for curve in pair)
        differences.append(ours - theirs)
    p_value = signed_rank_test(np.array(differences))
    return {
        "n": len(differences),
        "is_same": all(area_difference(*pair, "steps") is None for pair in pairs),
        "difference": float(np.median(differences)),
        "p_value": p_value if len(differences) > 1 else np.nan,
        "p_wilcoxon": p_value,
        "probability_better": float((1 - np.sign(differences)).mean() / 2),
    }
