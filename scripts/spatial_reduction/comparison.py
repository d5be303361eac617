"""Compare the last model of every arm with that of the comparators: `contrasts.csv`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spatial_reduction.joblog import progress, say
from spatial_reduction.metrics import measure, summary_measures
from spatial_reduction.statistics import Contrast, adjust_holm, contrast, decide, image_weights
from spatial_reduction.storage import open_hdf5, written_whole

RESAMPLED_AT_ONCE = 500
SEED = 0  # of the bootstrap: the same tables give the same intervals
COLUMNS = ["arm", "threshold", "comparator", "comparator_threshold", "measure", "class"]
COLUMNS += [field.name for field in fields(Contrast)]
FAMILY = ["comparator", "measure", "class"]  # contrasts whose p-values are adjusted together


def compare_arms(
    counts: Sequence[str | Path], chains: Sequence[Sequence[str]], evaluation: Mapping[str, Any], output: str | Path
) -> None:
    """Write one row per arm, threshold, comparator and measure on the test images (protocol T1).

    Differences and intervals are in percentage points, arm minus comparator, at each arm's last iteration,
    paired by seed. A comparator with several thresholds is paired with the arm's own, and left out where it has not
    that one. Columns as in `statistics.Contrast`, with `p_holm` (over all arms and thresholds against one
    comparator in one measure) and `decision` (see `statistics.decide`).

    Args:
        counts: `counts.h5` of each chain.
        chains: (arm, threshold, seed) of each.
        evaluation: section of the configuration.

    Raises:
        InputError: a file is damaged.
    """
    observed, classes = _last_confusions(counts, chains)
    images = len(next(iter(observed.values())))
    resampled = _resample(observed, evaluation["resamples"])
    rows = []
    foreground = [classes.index(name) for name in evaluation["foreground"]]
    for name, group, members in summary_measures(classes, evaluation["class_groups"]):
        if name not in evaluation["measures"]:
            continue
        points = {
            chain: 100 * measure(matrix.sum(axis=0), name, members, foreground) for chain, matrix in observed.items()
        }
        spread = {chain: 100 * measure(matrix, name, members, foreground) for chain, matrix in resampled.items()}
        rows += _contrasts(points, spread, images, name, group, evaluation)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["p_holm"] = table.groupby(FAMILY)["p_value"].transform(lambda values: adjust_holm(values.to_numpy()))
    table["decision"] = [decide(row, row.p_holm) for row in table.itertuples()]
    with written_whole(output) as partial:
        table.to_csv(partial, index=False)
    say(f"{output}: {len(table)} contrasts")


def _contrasts(
    points: Mapping[Any, float],
    spread: Mapping[Any, np.ndarray],
    images: int,
    name: str,
    group: str,
    evaluation: Mapping[str, Any],
) -> list[dict[str, Any]]:
    settings = list(dict.fromkeys((arm, threshold) for arm, threshold, _ in points))
    seeds = list(dict.fromkeys(seed for _, _, seed in points))
    rows = []
    for comparator in evaluation["comparators"]:
        thresholds = [threshold for arm, threshold in settings if arm == comparator]
        for arm, threshold in settings:
            # A comparator that reduces, too, is compared at the same threshold.
            against = threshold if threshold in thresholds else thresholds[0]
            if arm == comparator or (against != threshold and len(thresholds) > 1):
                continue
            pairs = [((arm, threshold, seed), (comparator, against, seed)) for seed in seeds]
            differences = np.array([points[ours] - points[theirs] for ours, theirs in pairs])
            resampled = np.stack([spread[ours] - spread[theirs] for ours, theirs in pairs])
            place = [arm, threshold, comparator, against, name, group]
            result = asdict(contrast(differences, resampled, images, evaluation["margin"]))
            rows.append(dict(zip(COLUMNS, place, strict=False)) | result)
    return rows


def _last_confusions(
    paths: Sequence[str | Path], chains: Sequence[Sequence[str]]
) -> tuple[dict[tuple[str, ...], np.ndarray], list[str]]:
    """Return the test confusion matrices (N, C, C) of every chain's last iteration, and the class names."""
    observed, classes = {}, []
    for path, chain in zip(paths, chains, strict=True):
        with open_hdf5(path, "counts") as file:
            observed[tuple(chain)] = file["T1/test/confusion"][-1]
            classes = list(file.attrs["classes"])
    return observed, classes


def _resample(observed: Mapping[Any, np.ndarray], resamples: int) -> dict[Any, np.ndarray]:
    """Return each chain's pooled confusion matrix on the same resamples of the images, (B, C, C)."""
    images = len(next(iter(observed.values())))
    flat = {chain: matrix.reshape(images, -1).astype(np.float32) for chain, matrix in observed.items()}
    parts: dict[Any, list[np.ndarray]] = {chain: [] for chain in observed}
    starts = range(0, resamples, RESAMPLED_AT_ONCE)
    for start in progress(starts, len(starts), "resampling test images", "blocks"):
        weights = image_weights(images, min(RESAMPLED_AT_ONCE, resamples - start), seed=SEED + start)
        for chain, matrix in flat.items():
            parts[chain].append(weights @ matrix)
    return {chain: np.concatenate(some).reshape(resamples, *observed[chain].shape[1:]) for chain, some in parts.items()}
