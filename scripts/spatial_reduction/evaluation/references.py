"""Baseline predictors that see no image, which a trained network must beat: `references.csv`. No torch."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.metrics.overlap import confusion_matrices, measure_all
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import require_whole_table, write_table
from spatial_reduction.runtime.log import progress, say

PRIOR = "position_prior"


def measure_references(
    dataset: str | Path,
    splits: Sequence[str],
    class_groups: Mapping[str, Sequence[str]],
    foreground: Sequence[str],
    output: str | Path,
) -> None:
    """Write what predictors that see no image score: one class everywhere, and the position prior.

    The position prior predicts at each pixel the class that is commonest there in the training labels, the commonest of
    all where none is labelled.

    Args:
        splits: on whose images.
        class_groups, foreground: see the section `evaluation` of the configuration.
        output: CSV (predictor, split, measure, class, value), measures as in `metrics.csv`; predictors are
            `constant_CLASS` and `position_prior`.

    Raises:
        InputError: the data set is damaged.
    """
    data = Dataset.open(dataset)
    height, width, _ = data.image_shape
    predictions = {
        f"constant_{name}": np.full((height, width), index, np.uint8) for index, name in enumerate(data.classes)
    }
    predictions[PRIOR] = position_prior(data)
    rows = []
    for split in splits:
        blocks = progress(data.blocks(split), data.block_count(split), f"references on {split}", "blocks")
        counts: dict[str, list[np.ndarray]] = {name: [] for name in predictions}
        for _, _, labels in blocks:
            for name, prediction in predictions.items():
                shown = np.broadcast_to(prediction, labels.shape)
                counts[name].append(confusion_matrices(labels, shown, len(data.classes)))
        for name, parts in counts.items():
            measured = measure_all(np.concatenate(parts), data.classes, class_groups, foreground)
            place = {"predictor": name, "split": split}
            rows += [
                {**place, "measure": measure, "class": group, "value": value} for measure, group, value in measured
            ]
    write_table(output, rows)
    say(f"{output}: {len(predictions)} predictors that see no image, on {', '.join(splits)}")


def position_prior(data: Dataset) -> np.ndarray:
    """Return the class that each pixel most often has in the training labels, uint8 (H, W)."""
    seen = np.zeros((len(data.classes), *data.image_shape[:2]), dtype=np.int64)
    for _, _, labels in data.blocks("train"):
        for index in range(len(data.classes)):
            seen[index] += (labels == index).sum(axis=0)
    commonest = seen.argmax(axis=0)
    commonest[seen.sum(axis=0) == 0] = seen.sum(axis=(1, 2)).argmax()
    return commonest.astype(np.uint8)


def best_reference(path: str | Path) -> float:
    """Return the highest mean IoU over all classes, in [0, 1], of a predictor that sees no image, on the test images.

    Raises:
        InputError: the table is damaged or holds none.
    """
    require_whole_table(path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["measure"]) == ("test", "mean_iou")]
    values = [float(row["value"]) for row in rows if row["class"] == "all" and row["value"]]
    if not values:
        raise InputError(f"{path}: holds no mean_iou of all classes on the test images; delete it and run again")
    return max(values)
