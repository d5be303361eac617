"""How fast arms learn, from their learning curves: `convergence.csv`, and the contrasts of hypothesis 2.

Curves are compared from where they part. Before that, to the end of iteration 1 for arms that share it, they are one
and the same training.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spatial_reduction.analysis.comparators import Setting, pair_settings
from spatial_reduction.analysis.measures import margin_of
from spatial_reduction.analysis.statistics import PairedSample, image_weights, signed_rank_test
from spatial_reduction.analysis.tables import CHAIN
from spatial_reduction.metrics.overlap import iou, labelled_classes, mean_over_classes
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import open_hdf5, well_formed, written_whole
from spatial_reduction.runtime.log import progress, say

LEVELS = (90, 95, 99)  # per cent of the lower of two final scores
STEPS, SCORE = "cumulative_steps", "validation_mean_iou"
AREAS = {"validation_area": "steps", "validation_area_pixels": "pixels"}  # measure: what the curve is drawn against
RESAMPLES, SEED = 1000, 0  # of the validation images: a variance is then known to 5 %
Iterations = Mapping[tuple[str, str, str, int], str | Path]  # (arm, threshold, seed, iteration): a file


@dataclass(frozen=True)
class Curve:
    """The learning curve of a chain, its iterations joined; arrays are by epoch, (E,).

    Attributes:
        steps: cumulative optimiser steps.
        pixels: cumulative kept pixels, in whole images.
        score: validation mean IoU, in points.
        table: all columns of `history.csv`.
    """

    steps: np.ndarray
    pixels: np.ndarray
    score: np.ndarray
    table: pd.DataFrame

    @property
    def final(self) -> float:
        """Score of the last epoch."""
        return float(self.score[-1])

    def first_reaching(self, target: float) -> int:
        """Return the first epoch, from 0 on, whose score is at least the target, which is no higher than `final`."""
        return int((self.score >= target).argmax())


Curves = Mapping[tuple[str, str, int], Curve]  # by arm, threshold, seed
Difference = tuple[float, np.ndarray]  # of two areas, and on resamples of the validation images, (B,)


def measure_convergence(history: str | Path, kept_pixels: str | Path, comparator: str, output: str | Path) -> None:
    """Write one row per chain and level: when it and the comparator first reach the same score, and its area.

    The target is the level (per cent) of the lower of the two final scores, of the chain and of the comparator with
    the same seed (at its first threshold if it has several): both reach it, and it is symmetric in the two.

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
        curves[chain] = Curve(
            steps=table[STEPS].to_numpy(dtype=float),
            pixels=np.cumsum(np.diff(table["cumulative_images"], prepend=0) * shares),
            score=100 * table[SCORE].to_numpy(dtype=float),
            table=table,
        )
    return curves


def integral_weights(x: np.ndarray, first: float, last: float) -> np.ndarray:
    """Return w (E,) such that w @ y is the mean height between first and last of straight lines through (x, y).

    Both ends lie within x. If they are equal it is the height there.
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
    """Return the number of epochs that two curves share at their beginning."""
    common = min(len(ours.steps), len(theirs.steps))
    same = [getattr(ours, name)[:common] == getattr(theirs, name)[:common] for name in ("steps", "score")]
    return int(np.logical_and(*same).cumprod().sum())


def area_weights(ours: Curve, theirs: Curve, against: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the weights of both curves' epochs that give their mean heights.

    From where the curves part to where the first of them ends; None if nothing is left to compare.

    Args:
        against: `steps` or `pixels`.
    """
    x, other = getattr(ours, against), getattr(theirs, against)
    parting = max(shared_epochs(ours, theirs) - 1, 0)
    first, last = max(x[parting], other[parting]), min(x[-1], other[-1])
    return (integral_weights(x, first, last), integral_weights(other, first, last)) if last > first else None


def compare_convergence(
    curves: Curves, validation: Iterations, evaluation: Mapping[str, Any], report: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the contrasts of convergence as rows of `contrasts.csv` and `interactions.csv`, without decisions.

    `validation_area`, `validation_area_pixels`, in points: difference of the mean heights (see `area_weights`) over
    optimiser steps and over kept pixels, with an interval over seeds and validation images. `steps_to_95`: median
    difference of the steps to 95 % of the lower of the two final scores, tested by Wilcoxon's signed ranks; no
    interval. Where nothing is left to compare the two are the same.

    Args:
        validation: {(arm, threshold, seed, iteration): `validation_counts.h5`}.

    Raises:
        InputError: counts are damaged or not those of the curve.
    """
    settings, seeds = list(dict.fromkeys(chain[:2] for chain in curves)), list(dict.fromkeys(c[2] for c in curves))
    method, primary = report["method"], evaluation["comparators"][0]
    pairs = list(pair_settings(settings, evaluation["comparators"], evaluation["controls"], method))
    samples: dict[Any, PairedSample] = {}
    between: dict[tuple[str, str], PairedSample] = {}
    compared: dict[Any, int] = defaultdict(int)  # seeds with which something is left to compare
    for seed in progress(seeds, len(seeds), "comparing learning curves", "seeds"):
        resampled, images = _resample(curves, settings, seed, validation, evaluation["resamples"])
        nothing = (0.0, np.zeros(len(next(iter(resampled.values())))))
        main: dict[str, Difference] = {}
        for ours, theirs in pairs:
            for measure, against in AREAS.items():
                pair = curves[*ours, seed], curves[*theirs, seed]
                weights = area_weights(*pair, against)
                found = nothing
                if weights:
                    value = float(pair[0].score @ weights[0] - pair[1].score @ weights[1])
                    found = value, resampled[ours] @ weights[0] - resampled[theirs] @ weights[1]
                compared[ours, theirs, measure] += weights is not None
                samples.setdefault((ours, theirs, measure), PairedSample(images)).add(*found)
                if measure == "validation_area" and weights and (ours[0], theirs[0]) == (method, primary):
                    main[ours[1]] = found
        for (threshold, (value, some)), (other, (less, rest)) in combinations(main.items(), 2):
            between.setdefault((threshold, other), PairedSample(images)).add(value - less, some - rest)
    rows = [row for pair in pairs for row in _rows(curves, seeds, pair, samples, compared, evaluation)]
    return rows, list(_between_thresholds(between, len(seeds), evaluation))


def _rows(
    curves: Curves,
    seeds: Sequence[int],
    pair: tuple[Setting, Setting],
    samples: Mapping[Any, PairedSample],
    compared: Mapping[Any, int],
    evaluation: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    ours, theirs = pair
    place = {"arm": ours[0], "threshold": ours[1], "comparator": theirs[0], "comparator_threshold": theirs[1]}
    place |= {"protocol": "validation", "class": "all"}
    for measure in AREAS:
        sample = samples[ours, theirs, measure]
        if compared[ours, theirs, measure]:
            result = asdict(sample.contrast(margin_of(measure, evaluation["margins"]))) | {"is_same": sample.is_zero}
        else:
            result = {"n": len(seeds), "is_same": True}
        yield place | {"measure": measure} | result
    chains = [(curves[*ours, seed], curves[*theirs, seed]) for seed in seeds]
    is_same = compared[ours, theirs, "validation_area"] == 0
    yield place | {"measure": "steps_to_95", "is_same": is_same} | _steps_contrast(chains)


def _between_thresholds(
    between: Mapping[tuple[str, str], PairedSample], seeds: int, evaluation: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    place = {"measure": "validation_area", "protocol": "validation", "class": "all"}
    margin = margin_of("validation_area", evaluation["margins"])
    for (threshold, other), sample in between.items():
        if len(sample.differences) == seeds:  # something is left to compare with every one
            yield place | {"threshold": threshold, "other_threshold": other} | asdict(sample.contrast(margin))


def _steps_contrast(pairs: Sequence[tuple[Curve, Curve]]) -> dict[str, Any]:
    differences = []
    for pair in pairs:
        target = 0.95 * min(curve.final for curve in pair)
        ours, theirs = (curve.steps[curve.first_reaching(target)] for curve in pair)
        differences.append(ours - theirs)
    p_value = signed_rank_test(np.array(differences))
    return {
        "n": len(differences),
        "difference": float(np.median(differences)),
        "p_value": p_value if len(differences) > 1 else np.nan,
        "p_wilcoxon": p_value,
        "probability_better": float((1 - np.sign(differences)).mean() / 2),
    }


def _resample(
    curves: Curves, settings: Sequence[Setting], seed: int, validation: Iterations, resamples: int
) -> tuple[dict[Setting, np.ndarray], int]:
    """Return every setting's curve on resamples of the validation images, (B, E) in points, and their number."""
    weights, known = None, {}
    resampled = {}
    for setting in settings:
        curve, parts = curves[*setting, seed], []
        for iteration, table in curve.table.groupby("iteration"):
            path = validation[*setting, str(seed), int(iteration)]
            if path not in known:
                counts = _read_counts(path, table)
                if weights is None:
                    weights = image_weights(counts.shape[1], min(resamples, RESAMPLES), SEED)
                if counts.shape[1] != weights.shape[1]:
                    raise InputError(
                        f"{path}: counts of {counts.shape[1]} validation images, others have {weights.shape[1]}; "
                        "delete it and run again"
                    )
                known[path] = _scores(counts, weights)
            parts.append(known[path])
        resampled[setting] = np.concatenate(parts, axis=1)
    return resampled, 0 if weights is None else weights.shape[1]


def _read_counts(path: str | Path, table: pd.DataFrame) -> np.ndarray:
    """Return confusions (E, N, C, C) of every epoch of an iteration; refuse those of another training."""
    with open_hdf5(path, "validation_counts") as file, well_formed(path):
        counts = file["confusion"][:]
    pooled = counts.sum(axis=1) if counts.ndim == 4 else counts
    score = mean_over_classes(iou(pooled), labelled_classes(pooled)) if counts.ndim == 4 else np.full(1, np.nan)
    if len(score) != len(table) or not np.allclose(score, table[SCORE], rtol=0, atol=1e-9):
        raise InputError(f"{path}: its counts do not give the scores of history.csv; delete it and run again")
    return counts


def _scores(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean IoU, in points, of each resample after each epoch, float32 (B, E)."""
    epochs, images, classes, _ = counts.shape
    labelled = labelled_classes(counts.reshape(-1, classes, classes))
    flat = counts.swapaxes(0, 1).reshape(images, -1).astype(np.float32)
    pooled = (weights @ flat).reshape(len(weights), epochs, classes, classes)
    return (100 * mean_over_classes(iou(pooled), labelled)).astype(np.float32)
