"""All sources of saliency side by side, on the same model and test images: scores, masks, cost."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.ranking import kept_count, shrink_mask
from spatial_reduction.networks.base import Network
from spatial_reduction.networks.inference import predict
from spatial_reduction.networks.model_file import load_model, require_architecture
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.files import create_hdf5, write_table
from spatial_reduction.runtime.log import progress
from spatial_reduction.saliency.base import Context, stream_scores

MEASURED = 64  # test images that recalls are of
TIMED = 16  # of them, that are scored again and again
REPEATS = 5
COLUMNS = ["source", "measure", "class", "threshold", "n", "value", "low", "high"]


def render_sources(
    dataset: str | Path,
    model: str | Path,
    report: Mapping[str, Any],
    reduction: Mapping[str, Any],
    seed: int,
    machine: Machine,
    outputs: Mapping[str, str | Path],
) -> None:
    """Write `sources.h5`, pictures of M test images by S sources, and the table `sources.csv`.

    The images are evenly spaced over the test split (no choice by hand), and intact.

    Datasets: `images` uint8 (M, H, W, C), `labels` and `predictions` uint8 (M, H, W), `scores` float32
    (S, M, H, W), `kept` bool (S, M, H, W): the mask of the lowest threshold.

    Table: source, measure, class, threshold, n, value, low, high. `relative_seconds` is a source's time over that of a
    forward pass, median, lowest and highest of n; `recall` the per cent of the class's pixels in n images that are
    kept; `decided_by_index` the mean per cent of an image's pixels with a tied score of which only some are kept.

    Args:
        report: `sources`, by name, and `images`, how many are shown.
        reduction: `thresholds` and `classes_of_interest` of the method.
        outputs: {"pictures", "table"}: files to write.

    Raises:
        InputError: a file is damaged, or a score is not a number.
    """
    where, data = machine.enter(), Dataset.open(dataset, seed)
    chosen = _spread(data.count("test"), MEASURED)
    pixels, labels = data.pick("test", chosen)
    interest = data.class_indices(reduction["classes_of_interest"])
    sources, thresholds = report["sources"], reduction["thresholds"]
    network = load_model(model, where).eval()
    require_architecture(model, network, data.image_shape[2], len(data.classes), None)
    context = Context(Path(model), machine, len(data.classes), interest, seed, 2)
    shown = _spread(len(chosen), report["images"])
    strictest = min(thresholds, key=float)
    rows, scores, kept = [], [], []
    for source in progress(sources, len(sources), "sources of saliency", "sources"):
        found = np.concatenate(list(stream_scores(source, _blocks(data, pixels, labels), context)))
        rows.append({"source": source, **measure_cost(source, network, pixels[:TIMED], labels[:TIMED], context)})
        for threshold in thresholds:
            mask = shrink_mask(np.ones(labels.shape, bool), found, kept_count(data.pixel_count, threshold))
            measured = measure_mask(mask, found, labels, data.classes)
            rows += [{"source": source, **row, "threshold": threshold} for row in measured]
            if threshold == strictest:
                kept.append(mask[shown])
        scores.append(found[shown])
    with create_hdf5(outputs["pictures"], "sources") as file:
        file.attrs["classes"], file.attrs["sources"], file.attrs["threshold"] = data.classes, list(sources), strictest
        file["images"], file["labels"] = pixels[shown], labels[shown]
        file["predictions"] = predict(network, pixels[shown], where)
        file["scores"], file["kept"] = np.stack(scores), np.stack(kept)
    write_table(outputs["table"], [{column: row.get(column, "") for column in COLUMNS} for row in rows])


def measure_cost(
    source: str, network: Network, images: np.ndarray, labels: np.ndarray, context: Context
) -> dict[str, Any]:
    """Return one row: a source's seconds over those of the model's prediction of the same images.

    The two are measured in turn, so that other load on the machine affects both. Reading the model is left out.
    """
    device = next(network.parameters()).device
    stream = stream_scores(source, repeat((images, labels), REPEATS + 1), context)
    ratios = []
    for _ in range(REPEATS + 1):
        begin = perf_counter()
        predict(network, images, device)
        between = perf_counter()
        next(stream)
        ratios.append((perf_counter() - between) / (between - begin))
    ratios = ratios[1:]  # the first one reads the model and warms up
    summary = {"value": float(np.median(ratios)), "low": min(ratios), "high": max(ratios)}
    return {"measure": "relative_seconds", "class": "all", "n": len(ratios), **summary}


def measure_mask(
    kept: np.ndarray, scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return rows for masks bool, scores float32 and labels uint8, (n, H, W) each: recalls and ties, per cent."""
    rows = []
    for index, name in enumerate(classes):
        of_class = kept[labels == index]
        rows.append(("recall", name, of_class.mean() if len(of_class) else np.nan))
    last = np.where(kept, scores, np.inf).min(axis=(1, 2), keepdims=True)
    tied = scores == last
    is_split = (tied & ~kept).any(axis=(1, 2))
    rows.append(("decided_by_index", "all", np.mean(tied.mean(axis=(1, 2)) * is_split)))
    return [
        {"measure": measure, "class": name, "n": len(kept), "value": float(100 * value)}
        for measure, name, value in rows
    ]


def _spread(count: int, wanted: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(wanted, count)).astype(int)


def _blocks(data: Dataset, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(images), data.block):
        yield images[start : start + data.block], labels[start : start + data.block]
