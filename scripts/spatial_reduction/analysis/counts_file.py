"""What `counts.h5` holds, counts of each test image, and every measure of any resample of the images made from them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_reduction.analysis.measures import MEASURES, Score, measured_group
from spatial_reduction.evaluation.corruptions import CORRUPTED
from spatial_reduction.metrics.calibration import BINS
from spatial_reduction.metrics.overlap import ClassSets, labelled_classes, measure
from spatial_reduction.metrics.pooled import OBJECTS, measure_pooled
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import open_hdf5, well_formed

BACKGROUNDS = ("background_swapped", "background_blurred")
BLOCK = 500  # resamples at once
# Counts of which every measure is compared, in the order of the tables; those of objects come last.
MEASURED = ("intact/confusion", "self_masked/confusion", "label_masked/confusion")
MEASURED += ("intact/boundary", "intact/reliability", "intact/nll")


def read_counts(path: str | Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return {`PROTOCOL/QUANTITY`: counts (N, ...)} of the last iteration on the test images, and the class names.

    The counts of objects are given by measure: {`intact/objects/MEASURE`: counts (N, 2)}.

    Raises:
        InputError: the file is damaged.
    """
    with open_hdf5(path, "counts") as file, well_formed(path):
        found = {
            f"{protocol}/{quantity}": dataset[-1]
            for protocol, splits in file.items()
            for quantity, dataset in splits.get("test", {}).items()
            if quantity != "objects"
        }
        if "intact/test/objects" in file:
            dataset = file["intact/test/objects"]
            found |= {f"intact/{OBJECTS}{name}": dataset[-1, :, i] for i, name in enumerate(dataset.attrs["measures"])}
        classes = [str(name) for name in file.attrs["classes"]]
        _require_counts(path, found, len(classes))
        return found, classes


def _require_counts(path: str | Path, found: Mapping[str, np.ndarray], classes: int) -> None:
    """Refuse counts that are not finite, not of these classes, or of other images than the intact ones."""
    of_image = {"confusion": (classes, classes), "boundary": (classes, 2), "reliability": (BINS, 3), "nll": (2,)}
    images = len(found["intact/confusion"])
    for name, counts in found.items():
        expected = (images, *of_image.get(name.rpartition("/")[2], (2,)))
        if counts.shape != expected or not np.isfinite(counts).all():
            raise InputError(f"{path}: {name} is {counts.shape}, expected finite {expected}; delete it and run again")


def recorded_machines(paths: Iterable[str | Path]) -> tuple[set[str], set[str]]:
    """Return the devices that chains were evaluated on, and the software with its versions.

    Raises:
        InputError: a file is damaged.
    """
    devices, software = set(), set()
    for path in paths:
        with open_hdf5(path, "counts") as file, well_formed(path):
            devices.add(str(file.attrs["device"]))
            software |= {str(name) for name in file.attrs["software"]}
    return devices, software


def read_origin(path: str | Path) -> dict[str, Any]:
    """Return what made the models of a chain and evaluated them, as its counts record it; {} if they do not.

    Returns:
        `data`: digest of the data set; `trainings`: what made each model, see `model_file.read_origin`, each once;
        `evaluate_model`: what that job was asked for; `metrics`: digest of the table; `files`: of each iteration the
        digests of `history`, `validation_counts` and, after the first, `kept_pixels`.

    Raises:
        InputError: the file is damaged.
    """
    with open_hdf5(path, "counts") as file, well_formed(path):
        return json.loads(file["origin/json"][()]) if "origin" in file else {}


def pool(counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the counts summed over the images, (N, ...) -> (...)."""
    return {name: values.sum(axis=0) for name, values in counts.items()}


def pool_resamples(counts: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the counts summed over each resample of the images, (N, ...) -> float64 (B, ...).

    Args:
        weights: (B, N), how much each image weighs. One matrix product per block of resamples serves all counts.
    """
    flat = np.concatenate([values.reshape(len(values), -1) for values in counts.values()], axis=1, dtype=np.float32)
    blocks = [weights[start : start + BLOCK].astype(np.float32) @ flat for start in range(0, len(weights), BLOCK)]
    ends = np.cumsum([values[0].size for values in counts.values()])
    parts = np.split(np.concatenate(blocks).astype(np.float64), ends[:-1], axis=1)
    return {
        name: part.reshape(len(weights), *values.shape[1:])
        for (name, values), part in zip(counts.items(), parts, strict=True)
    }


def measure_counts(
    pooled: Mapping[str, np.ndarray], classes: Sequence[str], groups: Mapping[str, Sequence[str]], front: Sequence[str]
) -> dict[Score, np.ndarray]:
    """Return every measure, in the unit it is stored in, that the pooled counts (..., C, C) and so on allow.

    A drop is the value on intact images minus that on changed ones: of mean IoU, averaged over all corruptions, and of
    the foreground's IoU for a swapped or blurred background.

    Means are over the classes that the labels hold. With weights above 0 these are the same in all resamples.

    Args:
        groups: {name: class names} to average over; `all` is added.
        front: names of the foreground classes.
    """
    everything = labelled_classes(pooled["intact/confusion"])
    sets = ClassSets.of(classes, groups, front, everything)
    values: dict[tuple[str, str, str], np.ndarray] = {}
    objects = [place for place in pooled if place.startswith(f"intact/{OBJECTS}")]
    for place in [place for place in MEASURED if place in pooled] + objects:
        protocol, _, quantity = place.partition("/")
        measured = measure_pooled(quantity, pooled[place], sets)
        values |= {(protocol, *key): value for key, value in measured.items() if _is_compared(*key)}
    corrupted = [pooled[f"{name}/confusion"] for name in CORRUPTED if f"{name}/confusion" in pooled]
    if corrupted:
        scores = np.mean([measure(each, "mean_iou", everything, sets.foreground) for each in corrupted], axis=0)
        values["corrupted", "mean_iou", "all"] = scores
        values["corrupted", "corruption_drop", "all"] = values["intact", "mean_iou", "all"] - scores
    for protocol in BACKGROUNDS:
        if f"{protocol}/confusion" in pooled:
            scores = measure(pooled[f"{protocol}/confusion"], "binary_iou", everything, sets.foreground)
            values[protocol, "binary_iou", "foreground"] = scores
            values[protocol, f"{protocol}_drop", "foreground"] = values["intact", "binary_iou", "foreground"] - scores
    return {Score(*place): value for place, value in values.items()}


def _is_compared(name: str, group: str) -> bool:
    """Return whether arms are compared in a measure; those of single classes, for one, are in `metrics.csv` alone."""
    return name in MEASURES and measured_group(name, group) == group
