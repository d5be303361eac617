"""Evaluate the models of one chain (arm, threshold, seed): on intact images, and the last model by every protocol."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.evaluation.protocols import Block, View, build_views
from spatial_reduction.masks.reduction_step import ReductionStep
from spatial_reduction.metrics.boundary_iou import boundary_counts
from spatial_reduction.metrics.calibration import likelihood_counts, reliability_counts
from spatial_reduction.metrics.objects import OBJECT_MEASURES, object_counts
from spatial_reduction.metrics.overlap import ClassSets, confusion_matrices, labelled_classes, measure_all
from spatial_reduction.metrics.pooled import OBJECTS, measure_pooled
from spatial_reduction.networks.inference import compute_logits, most_probable
from spatial_reduction.networks.model_file import load_model, read_origin, require_architecture
from spatial_reduction.networks.test_time_augmentation import Predict, average_symmetries
from spatial_reduction.runtime.device import Machine, device_name
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5, table_digest, write_table
from spatial_reduction.runtime.log import progress, say

Counts = dict[str, np.ndarray]  # per image: a sum over images gives the pooled measure
INTACT = "intact"
# (position in the test split, labels, predictions) -> counts of objects (n, M, 2)
ObjectCounter = Callable[[slice, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Evaluation:
    """The images and the measures of an evaluation; keys of the section `evaluation`."""

    splits: Sequence[str]
    protocols: Sequence[str]
    class_groups: Mapping[str, Sequence[str]]
    foreground: Sequence[str]
    objects: Mapping[str, Any] | None = None
    test_time_augmentation: int = 1


def evaluate_model(
    dataset: str | Path,
    models: Sequence[str | Path],
    metrics: str | Path,
    counts: str | Path,
    evaluation: Evaluation,
    step: ReductionStep,
    chain: Chain,
    machine: Machine,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write every measure of every iteration's model, and the counts of every image that they are made from.

    Every model is measured on the intact images of the splits. The last one is also measured on the test images by each
    of the protocols; on intact test images its outlines, calibration and, if asked for, objects are measured, too.

    Args:
        models: of iterations 1..K.
        metrics: CSV (arm, threshold, seed, iteration, split, protocol, measure, class, value). Values are in [0, 1];
            `nll` is in nats, `variation_of_information` and its parts are in bits, `absent_images` is a number.
        counts: HDF5, `PROTOCOL/SPLIT/QUANTITY` of shape (models measured, N, ...), the last model at [-1]:
            `confusion` int64 (..., C, C), rows true, columns predicted; and, for intact/test only,
            `boundary` int64 (..., C, 2), `reliability` float64 (..., 15, 3) and `nll` float64 (..., 2) as in
            `boundary_iou.boundary_counts`, `calibration.reliability_counts` and `likelihood_counts`; if objects are
            measured also `objects` float64 (..., M, 2) as in `objects.object_counts`, the names of the M measures in
            its attribute `measures`.
        step: how the arm masks images, for the protocols that do.
        origin: what the job was asked for; the counts keep it with what made the models, see `counts_file.read_origin`.

    Raises:
        InputError: a file is damaged, a model does not fit the data, or a logit is not finite.
    """
    where, data = machine.enter(), Dataset.open(dataset, chain.seed)
    context = step.scoring.context(data, models[-2:][0], machine, chain.seed, len(models))
    views = build_views(evaluation.protocols, data, evaluation.foreground, step, context)
    rows: list[dict[str, Any]] = []
    with create_hdf5(counts, "counts") as file:
        file.attrs["classes"] = data.classes
        file.attrs["device"] = device_name(where)
        file.attrs["software"] = [f"{name} {version(name)}" for name in ("torch", "numpy", "h5py", "safetensors")]
        for iteration, split, protocol, counted in _count_all(models, data, evaluation, views, where):
            _store(file, f"{protocol}/{split}", counted, iteration, len(models))
            place = {**chain._asdict(), "iteration": iteration, "split": split, "protocol": protocol}
            measured = _measure(counted, data.classes, evaluation.class_groups, evaluation.foreground)
            rows += [{**place, "measure": m, "class": c, "value": value} for m, c, value in measured]
        write_table(metrics, rows)
        file["origin/json"] = np.bytes_(json.dumps(_tell_origin(models, metrics, data, origin or {})))
    shown = ", ".join(evaluation.splits)
    say(f"{metrics}: {len(models)} models evaluated on {shown}, the last one by {1 + len(views)} protocols")


def _tell_origin(
    models: Sequence[str | Path], metrics: str | Path, data: Dataset, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what counts record: what made the models, what evaluated them, digests of the tables."""
    trainings = [read_origin(path) for path in models]
    files = [training.pop("files", {}) for training in trainings]
    for training in trainings:
        for asked in training.values():
            if isinstance(asked, dict):
                asked.pop("iteration", None)
    once = [training for at, training in enumerate(trainings) if training not in trainings[:at]]
    told = {"data": Dataset.open(data.path).digest, "evaluate_model": dict(origin), "metrics": table_digest(metrics)}
    return {"trainings": once, "files": files, **told}


def _count_all(
    models: Sequence[str | Path],
    data: Dataset,
    evaluation: Evaluation,
    views: Mapping[str, View],
    device: torch.device,
) -> Iterator[tuple[int, str, str, Counts]]:
    """Yield (iteration, split, protocol, counts) of all that the models are shown."""
    intact: list[tuple[str, str, View]] = [(split, INTACT, iter) for split in evaluation.splits]
    changed = [("test", protocol, view) for protocol, view in views.items()]
    objects, symmetries = evaluation.objects, evaluation.test_time_augmentation
    count_objects = None if objects is None else partial(_count_objects, data=data, objects=objects)
    for iteration, path in enumerate(models, start=1):
        network, is_last = load_model(path, device).eval(), iteration == len(models)
        require_architecture(path, network, data.image_shape[2], len(data.classes), None)
        predict = partial(average_symmetries, partial(compute_logits, network, device=device), symmetries=symmetries)
        for split, protocol, view in [*intact, *(changed if is_last else [])]:
            is_detailed = is_last and (split, protocol) == ("test", INTACT)
            counter = count_objects if is_detailed else None
            what = f"{path} on {split}, {protocol}"
            blocks = progress(view(data.blocks(split)), data.block_count(split), what, "blocks")
            counted = _count(predict, blocks, len(data.classes), is_detailed, counter, what)
            yield iteration, split, protocol, counted


def _count(
    predict: Predict,
    blocks: Iterable[Block],
    classes: int,
    is_detailed: bool,
    count_objects: ObjectCounter | None,
    what: str,
) -> Counts:
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    try:
        for block, images, labels in blocks:
            logits = predict(images)
            predictions = most_probable(logits)
            parts["confusion"].append(confusion_matrices(labels, predictions, classes))
            if is_detailed:
                log_probabilities = logits.log_softmax(dim=1).cpu().numpy()
                parts["boundary"].append(boundary_counts(labels, predictions, classes))
                parts["reliability"].append(reliability_counts(labels, log_probabilities))
                parts["nll"].append(likelihood_counts(labels, log_probabilities))
            if count_objects:
                parts["objects"].append(count_objects(block, labels, predictions))
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    return {quantity: np.concatenate(values) for quantity, values in parts.items()}


def _count_objects(
    block: slice, labels: np.ndarray, predictions: np.ndarray, data: Dataset, objects: Mapping[str, Any]
) -> np.ndarray:
    instances = data.instances("test", block) if data.has_instances else None
    index = data.class_indices([objects["class"]])[0]
    return object_counts(labels, predictions, instances, index, objects["connectivity"], objects["minimum_size"])


def _measure(
    counted: Counts, classes: Sequence[str], groups: Mapping[str, Sequence[str]], foreground: Sequence[str]
) -> list[tuple[str, str, float]]:
    rows = measure_all(counted["confusion"], classes, groups, foreground)
    about = ClassSets.of(classes, groups, foreground, labelled_classes(counted["confusion"]))
    for quantity, values in _by_measure(counted).items():
        if quantity != "confusion":
            measured = measure_pooled(quantity, values.sum(axis=0), about)
            rows += [(name, group, float(value)) for (name, group), value in measured.items()]
    return rows


def _by_measure(counted: Counts) -> Counts:
    """Return counts with those of objects, (N, M, 2), split into (N, 2) of each measure."""
    objects = counted.get("objects")
    if objects is None:
        return counted
    apart = {OBJECTS + name: objects[:, index] for index, name in enumerate(OBJECT_MEASURES)}
    return {name: values for name, values in counted.items() if name != "objects"} | apart


def _store(file: h5py.File, place: str, counted: Counts, iteration: int, iterations: int) -> None:
    """Write the counts of one model; confusions on intact images are kept of every model, all else of the last."""
    for quantity, values in counted.items():
        is_of_all = place.startswith(f"{INTACT}/") and quantity == "confusion"
        length, position = (iterations, iteration - 1) if is_of_all else (1, 0)
        shape, chunks = (length, *values.shape), (1, *values.shape)
        how = {"chunks": chunks, "compression": "gzip", "fletcher32": True}
        stored = file.require_dataset(f"{place}/{quantity}", shape, values.dtype, **how)
        stored[position] = values
        if quantity == "objects":
            stored.attrs["measures"] = OBJECT_MEASURES
