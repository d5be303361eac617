"""Compare the last model of every arm with that of the comparators: `contrasts.csv`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spatial_reduction.analysis.comparators import Setting, pair_settings
from spatial_reduction.analysis.convergence import convergence_contrasts
from spatial_reduction.analysis.counts_file import Key, measure_counts, pool, pool_resamples, read_counts
from spatial_reduction.analysis.measures import MEASURES
from spatial_reduction.analysis.racu import COLUMNS as AREA_COLUMNS
from spatial_reduction.analysis.racu import measure_relative_areas
from spatial_reduction.analysis.statistics import adjust_holm, contrast, decide, image_weights
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import progress, say

SEED = 0  # of the bootstrap: the same tables give the same intervals
FAMILY = ["comparator", "protocol", "measure", "class"]  # contrasts whose p-values are adjusted together
COLUMNS = ["arm", "threshold", "comparator", "comparator_threshold", "protocol", "measure", "class", "n"]
COLUMNS += ["difference", "ci_low", "ci_high", "p_value", "p_holm", "p_wilcoxon", "p_equivalence"]
COLUMNS += ["probability_better", "decision"]


@dataclass
class Scores:
    """The measures of an arm at a threshold, in printed units.

    Attributes:
        points: {key: one value per seed}.
        spread: {key: (B,)}, summed over the seeds, on B resamples of the test images.
    """

    points: dict[Key, list[float]] = field(default_factory=dict)
    spread: dict[Key, np.ndarray] = field(default_factory=dict)


def compare_arms(
    counts: Sequence[str | Path],
    chains: Sequence[Sequence[str]],
    history: str | Path,
    evaluation: Mapping[str, Any],
    contrasts: str | Path,
    racu: str | Path,
) -> None:
    """Write one row per arm, threshold, comparator, protocol and measure; and one per arm over all thresholds.

    A difference is arm minus comparator at each arm's last iteration, paired by seed, in the measure's unit
    (`wording.MEASURES`: percentage points, nats, bits, steps); "supported" always means that the arm is better. A
    comparator with several thresholds is paired with the arm's own, and left out where it has not that one. A
    comparator that masks nothing stands beside an arm's masked test images (self_masked, label_masked) with its score
    on intact ones.
    Columns as in `statistics.Contrast`, with `p_holm` (over all arms and thresholds against one comparator in one
    measure and protocol) and `decision` (see `statistics.decide`). The margin of equivalence is that of the
    configuration in points, and a hundredth of it in nats and bits. Memory does not grow with the seeds.

    Args:
        counts: `counts.h5` of each chain.
        chains: (arm, threshold, seed) of each.
        history: `history.csv`, for the contrasts of convergence.
        evaluation: section of the configuration.
        racu: see `relative_area.measure_relative_areas`; of the mean IoU over all classes on intact test images.

    Raises:
        InputError: a file is damaged, or differs from the others in the test images.
    """
    scores, images = _score_chains(counts, chains, evaluation)
    rows = list(_contrasts(scores, images, evaluation))
    rows += convergence_contrasts(pd.read_csv(history, dtype={"threshold": str}), evaluation)
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("p_holm", "decision")])
    table["p_holm"] = table.groupby(FAMILY)["p_value"].transform(lambda values: adjust_holm(values.to_numpy()))
    table["decision"] = decide(table["p_equivalence"], table["p_holm"], _gain(table))
    curves = {place: some.points["intact", "mean_iou", "all"] for place, some in scores.items()}
    areas = pd.DataFrame(measure_relative_areas(curves, evaluation["margin"]), columns=AREA_COLUMNS)
    for path, written in ((contrasts, table[COLUMNS]), (racu, areas)):
        with written_whole(path) as partial:
            written.to_csv(partial, index=False)
    say(f"{contrasts}: {len(table)} contrasts")


def _gain(table: pd.DataFrame) -> pd.Series:
    """Return what is positive where the arm is better: the signed difference; of ranked steps, the share of wins."""
    sign = table["measure"].map(lambda name: 1.0 if MEASURES[name].higher_is_better else -1.0).astype(float)
    return (sign * table["difference"]).where(table["measure"] != "steps_to_95", table["probability_better"] - 0.5)


def _contrasts(
    scores: Mapping[Setting, Scores], images: int, evaluation: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    for ours, theirs in pair_settings(list(scores), evaluation["comparators"]):
        for key in scores[ours].points:
            protocol, name, group = key
            other = key
            if key not in scores[theirs].points and protocol in ("self_masked", "label_masked"):
                other = ("intact", name, group)
            if name not in evaluation["measures"] or other not in scores[theirs].points:
                continue
            differences = np.subtract(scores[ours].points[key], scores[theirs].points[other])
            spread = (scores[ours].spread[key] - scores[theirs].spread[other]) / len(differences)
            scale, higher = MEASURES[name].scale, MEASURES[name].higher_is_better
            margin = evaluation["margin"] * scale / 100
            result = contrast(differences, float(spread.var(ddof=1)), images, margin, higher)
            yield dict(zip(COLUMNS, (*ours, *theirs, *key), strict=False)) | asdict(result)


def _score_chains(
    paths: Sequence[str | Path], chains: Sequence[Sequence[str]], evaluation: Mapping[str, Any]
) -> tuple[dict[Setting, Scores], int]:
    """Measure one chain after the other; return the scores of every arm and threshold, and the number of images."""
    scores: dict[Setting, Scores] = {}
    weights = None
    for path, (arm, threshold, _) in progress(zip(paths, chains, strict=True), len(paths), "comparing", "chains"):
        counts, classes = read_counts(path)
        images = len(counts["intact/confusion"])
        if weights is None:
            weights = image_weights(images, evaluation["resamples"], SEED)
        if images != weights.shape[1]:
            raise InputError(f"{path}: {images} test images, others have {weights.shape[1]}; delete it and run again")
        about = (classes, evaluation["class_groups"], evaluation["foreground"])
        values, resampled = (
            measure_counts(pool(counts), *about),
            measure_counts(pool_resamples(counts, weights), *about),
        )
        setting = scores.setdefault((arm, threshold), Scores())
        for key, value in values.items():
            scale = MEASURES[key[1]].scale
            setting.points.setdefault(key, []).append(scale * float(value))
            setting.spread[key] = setting.spread.get(key, 0) + scale * resampled[key]
    return scores, weights.shape[1]
