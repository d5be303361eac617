"""Evaluate the models of one chain (arm, threshold, seed): on intact images, and the last model by every protocol."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.evaluation.protocols import Block, View, build_views
from spatial_reduction.masks.ranking import kept_counts
from spatial_reduction.metrics.boundary_iou import boundary_counts, measure_boundaries
from spatial_reduction.metrics.calibration import likelihood_counts, measure_calibration, reliability_counts
from spatial_reduction.metrics.objects import OBJECT_MEASURES, measure_objects, object_counts
from spatial_reduction.metrics.overlap import confusion_matrices, measure_all
from spatial_reduction.networks.inference import compute_logits, most_probable
from spatial_reduction.networks.model_file import load_model, require_architecture
from spatial_reduction.networks.test_time_augmentation import Predict, average_symmetries
from spatial_reduction.runtime.determinism import set_determinism
from spatial_reduction.runtime.device import choose_device, device_name
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5, write_table
from spatial_reduction.runtime.log import progress, say
from spatial_reduction.saliency.base import Context

Counts = dict[str, np.ndarray]  # per image: a sum over images gives the pooled measure
INTACT = "intact"
# (position in the test split, labels, predictions) -> counts of objects (n, M, 2)
ObjectCounter = Callable[[slice, np.ndarray, np.ndarray], np.ndarray]


def evaluate_model(
    dataset: str | Path,
    models: Sequence[str | Path],
    metrics: str | Path,
    counts: str | Path,
    splits: Sequence[str],
    protocols: Sequence[str],
    class_groups: Mapping[str, Sequence[str]],
    foreground: Sequence[str],
    objects: Mapping[str, Any] | None,
    reduction: Mapping[str, Any],
    run: Mapping[str, Any],
    device: str,
    threads: int,
    test_time_augmentation: int = 1,
    deterministic: bool = False,
) -> None:
    """Write every measure of every iteration's model, and the counts of every image that they are made from.

    Every model is shown the intact images of `splits`. The last one is shown the test images by each of
    `protocols`, too, and of its predictions on intact test images outlines, calibration and, if asked for, objects are
    measured.

    Args:
        models: of iterations 1..K.
        metrics: CSV (arm, threshold, seed, iteration, split, protocol, measure, class, value). Values are in [0, 1];
            `nll` is in nats, `variation_of_information` and its parts are in bits, `absent_images` is a number.
        counts: HDF5, `PROTOCOL/SPLIT/QUANTITY` of shape (models measured, N, ...), the last model at [-1]:
            `confusion` int64 (..., C, C), rows true, columns predicted; and, for intact/test only,
            `boundary` int64 (..., C, 2), `reliability` float64 (..., 15, 3) and `nll` float64 (..., 2) as in
            `boundaries.boundary_counts`, `calibration.reliability_counts` and `likelihood_counts`; with `objects` also
            `objects` float64 (..., M, 2) as in `objects.object_counts`, the names of the M measures in its attribute
            `measures`.
        splits, protocols, class_groups, foreground, objects, test_time_augmentation: see the section `evaluation` of
            the configuration.
        reduction: keys source, rank, shuffle, fill, removes, classes_of_interest, schedule and step of the arm.
        run: {"arm", "threshold", "seed"} as they stand in the table.
        deterministic: see `determinism.set_determinism`.

    Raises:
        InputError: a file is damaged, a model does not fit the data, or a logit is not finite.
    """
    torch.set_num_threads(threads)
    set_determinism(deterministic)
    data, where = Dataset.open(dataset, int(run["seed"])), choose_device(device)
    context = _test_context(data, models, reduction, run, device, threads)
    kept = kept_counts(reduction["schedule"], run["threshold"], reduction["step"], len(models), data.pixel_count)[-1]
    views = build_views(protocols, data, foreground, reduction, kept, context)
    rows: list[dict[str, Any]] = []
    with create_hdf5(counts, "counts") as file:
        file.attrs["classes"] = data.classes
        file.attrs["device"] = device_name(where)
        file.attrs["software"] = [f"{name} {version(name)}" for name in ("torch", "numpy", "h5py", "safetensors")]
        counter = None if objects is None else partial(_count_objects, data=data, objects=objects)
        for iteration, split, protocol, counted in _count_all(
            models, data, splits, views, where, test_time_augmentation, counter
        ):
            _store(file, f"{protocol}/{split}", counted, iteration, len(models))
            place = {**run, "iteration": iteration, "split": split, "protocol": protocol}
            measured = _measure(counted, data.classes, class_groups, foreground)
            rows += [{**place, "measure": m, "class": c, "value": value} for m, c, value in measured]
    write_table(metrics, rows)
    say(f"{metrics}: {len(models)} models evaluated on {', '.join(splits)}, the last one by {1 + len(views)} protocols")


def _test_context(
    data: Dataset,
    models: Sequence[str | Path],
    reduction: Mapping[str, Any],
    run: Mapping[str, Any],
    device: str,
    threads: int,
) -> Context:
    """Return the context in which the last iteration's masks are made."""
    previous, interest = Path(models[-2:][0]), data.class_indices(reduction["classes_of_interest"])
    return Context(previous, device, threads, len(data.classes), interest, int(run["seed"]), len(models))


def _count_all(
    models: Sequence[str | Path],
    data: Dataset,
    splits: Sequence[str],
    views: Mapping[str, View],
    device: torch.device,
    test_time_augmentation: int,
    count_objects: ObjectCounter | None,
) -> Iterator[tuple[int, str, str, Counts]]:
    """Yield (iteration, split, protocol, counts) of all that the models are shown."""
    intact: list[tuple[str, str, View]] = [(split, INTACT, iter) for split in splits]
    changed = [("test", protocol, view) for protocol, view in views.items()]
    for iteration, path in enumerate(models, start=1):
        network, is_last = load_model(path, device).eval(), iteration == len(models)
        require_architecture(path, network, data.image_shape[2], len(data.classes), None)
        predict = partial(
            average_symmetries, partial(compute_logits, network, device=device), symmetries=test_time_augmentation
        )
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
    if "boundary" in counted:
        rows += measure_boundaries(counted["boundary"], classes, groups)
        rows += measure_calibration(counted["reliability"], counted["nll"])
    if "objects" in counted:
        rows += measure_objects(counted["objects"])
    return rows


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
