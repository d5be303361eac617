"""How fast arms learn, from their learning curves: `convergence.csv`, and the contrasts of hypothesis 2."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spatial_reduction.analysis.comparators import pair_settings
from spatial_reduction.analysis.statistics import contrast, signed_rank_test
from spatial_reduction.analysis.tables import CHAIN
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say

LEVELS = (90, 95, 99)  # per cent of the comparator's final score
STEPS, SCORE = "cumulative_steps", "validation_mean_iou"
AMOUNTS = {"steps": STEPS, "images": "cumulative_images", "seconds": "cumulative_seconds"}
Curves = Mapping[tuple[str, str, int], pd.DataFrame]  # by arm, threshold, seed; in the order of the epochs


def measure_convergence(history: str | Path, comparator: str, output: str | Path) -> None:
    """Write one row per chain and level: when its validation mean IoU first reaches the level, and its area.

    Columns: arm, threshold, seed, level (per cent), target (mean IoU: the level of the comparator's last epoch with
    the same seed), reached (True or False), steps, images, seconds (cumulative over the chain; empty if not
    reached), area (see `area_under`, over the chain's own steps) and final (mean IoU of the last epoch).

    Args:
        history: `history.csv`.
        comparator: arm that sets the target.
    """
    curves = split_curves(pd.read_csv(history, dtype={"threshold": str}))
    targets = last_validation_scores(curves, comparator)
    rows = []
    for chain, curve in curves.items():
        steps = curve[STEPS].to_numpy()
        whole = {"area": area_under(curve, steps[0], steps[-1]), "final": curve[SCORE].iloc[-1]}
        for level in LEVELS:
            target = level / 100 * targets[chain[2]]
            first = first_reaching(curve, target)
            amounts = {name: np.nan if first is None else first[column] for name, column in AMOUNTS.items()}
            place = dict(zip(CHAIN, chain, strict=True)) | {"level": level, "target": target}
            rows.append(place | {"reached": first is not None, **amounts, **whole})
    table = pd.DataFrame(rows).astype({"steps": "Int64", "images": "Int64"})
    with written_whole(output) as partial:
        table.to_csv(partial, index=False)
    say(f"{output}: {len(curves)} learning curves")


def split_curves(history: pd.DataFrame) -> Curves:
    """Return the learning curve of every chain, its iterations joined."""
    return {chain: curve.sort_values(STEPS) for chain, curve in history.groupby(CHAIN, sort=False)}


def last_validation_scores(curves: Curves, comparator: str) -> dict[int, float]:
    """Return the comparator's mean IoU after its last epoch, by seed; of its first threshold if it has several."""
    chains = [chain for chain in curves if chain[0] == comparator]
    return {seed: curves[arm, at, seed][SCORE].iloc[-1] for arm, at, seed in chains if at == chains[0][1]}


def first_reaching(curve: pd.DataFrame, target: float) -> pd.Series | None:
    """Return the row of the first epoch whose validation mean IoU is at least the target."""
    reached = (curve[SCORE] >= target).to_numpy()
    return curve.iloc[int(reached.argmax())] if reached.any() else None


def area_under(curve: pd.DataFrame, first: float, last: float) -> float:
    """Return the mean height of the curve of validation mean IoU between two counts of optimiser steps.

    The area under straight lines between epochs, divided by the range: 0 to 1, whatever the number of steps. With no
    range at all it is the score at that step.
    """
    steps, score = curve[STEPS].to_numpy(dtype=float), curve[SCORE].to_numpy(dtype=float)
    if last <= first:
        return float(np.interp(first, steps, score))
    at = np.unique([first, *steps[(steps > first) & (steps < last)], last])
    return float(np.trapezoid(np.interp(at, steps, score), at) / (last - first))


def convergence_contrasts(history: pd.DataFrame, evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the contrasts of convergence, as rows of `contrasts.csv` without `p_holm` and `decision`.

    `validation_area`, in points: difference of the areas over the steps that both chains took, with a t interval over
    the seeds. `steps_to_95`: median difference of the steps to 95 % of the first comparator's final score, tested by
    Wilcoxon's signed ranks, in which "not reached" is slower than any number of steps; no interval. Both are over
    seeds alone: the validation images are not drawn anew.

    Args:
        evaluation: `comparators` and `margin` are used.
    """
    curves = split_curves(history)
    targets = last_validation_scores(curves, evaluation["comparators"][0])
    settings = list(dict.fromkeys(chain[:2] for chain in curves))
    rows = []
    for ours, theirs in pair_settings(settings, evaluation["comparators"]):
        pairs = [(curves[*ours, seed], curves[*theirs, seed]) for seed in targets]
        place = dict(zip(("arm", "threshold", "comparator", "comparator_threshold"), (*ours, *theirs), strict=True))
        place |= {"protocol": "validation", "class": "all"}
        rows.append(place | {"measure": "validation_area"} | _area_contrast(pairs, evaluation["margin"]))
        rows.append(place | {"measure": "steps_to_95"} | _steps_contrast(pairs, list(targets.values())))
    return rows


def _area_contrast(pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]], margin: float) -> dict[str, Any]:
    differences = []
    for pair in pairs:
        first, last = max(curve[STEPS].iloc[0] for curve in pair), min(curve[STEPS].iloc[-1] for curve in pair)
        ours, theirs = (area_under(curve, first, last) for curve in pair)
        differences.append(100 * (ours - theirs))
    return asdict(contrast(np.array(differences), image_variance=0.0, images=1, margin=margin))


def _steps_contrast(pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]], targets: Sequence[float]) -> dict[str, Any]:
    differences = np.array(
        [_difference_in_steps(*pair, 0.95 * target) for pair, target in zip(pairs, targets, strict=True)]
    )
    p_value = signed_rank_test(differences)
    with np.errstate(invalid="ignore"):  # the middle of -inf and inf is not defined
        median = float(np.median(differences))
    return {
        "n": len(differences),
        "difference": median,
        "p_value": p_value if len(differences) > 1 else np.nan,
        "p_wilcoxon": p_value,
        "probability_better": float((1 - np.sign(differences)).mean() / 2),
    }


def _difference_in_steps(ours: pd.DataFrame, theirs: pd.DataFrame, target: float) -> float:
    """Return the difference of the steps to the target; infinite if one curve never reaches it, 0 if neither does."""
    first, second = first_reaching(ours, target), first_reaching(theirs, target)
    if first is None or second is None:
        return 0.0 if first is second else float("inf" if first is None else "-inf")
    return float(first[STEPS] - second[STEPS])
