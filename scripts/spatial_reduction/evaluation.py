"""Evaluate the models of one chain (arm, threshold, seed) on intact images: protocol T1."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from spatial_reduction.dataset import Dataset
from spatial_reduction.errors import InputError
from spatial_reduction.joblog import progress, say
from spatial_reduction.metrics import confusion_matrices, measure_all
from spatial_reduction.model import UNet, choose_device, device_name, load_model, require_architecture, to_input
from spatial_reduction.storage import create_hdf5, write_table


def evaluate_model(
    dataset: str | Path,
    models: Sequence[str | Path],
    metrics: str | Path,
    confusion: str | Path,
    splits: Sequence[str],
    class_groups: Mapping[str, Sequence[str]],
    foreground: Sequence[str],
    run: Mapping[str, Any],
    device: str,
    threads: int,
) -> None:
    """Write every measure of every iteration's model, and the confusion matrix of every image.

    Args:
        models: of iterations 1..K.
        metrics: CSV (arm, threshold, seed, iteration, split, protocol, measure, class, value in [0, 1]).
        confusion: HDF5, `SPLIT` int64 (K, N, C, C) per split: rows true, columns predicted.
        splits, class_groups, foreground: see the section `evaluation` of the configuration.
        run: {"arm", "threshold", "seed"} as they stand in the table.

    Raises:
        InputError: a file is damaged, a model does not fit the data, or a logit is not finite.
    """
    torch.set_num_threads(threads)
    data, where = Dataset.open(dataset), choose_device(device)
    rows: list[dict[str, Any]] = []
    with create_hdf5(confusion, "confusion") as file:
        file.attrs["classes"] = data.classes
        file.attrs["device"] = device_name(where)
        file.attrs["software"] = [f"{name} {version(name)}" for name in ("torch", "numpy", "h5py", "safetensors")]
        for iteration, path in enumerate(models, start=1):
            network = load_model(path, where).eval()
            require_architecture(path, network, data.image_shape[2], len(data.classes), None)
            for split in splits:
                matrices = _confusion_of(network, data, split, where, path)
                _stored(file, split, len(models), matrices.shape)[iteration - 1] = matrices
                measured = measure_all(matrices, data.classes, class_groups, foreground)
                place = {**run, "iteration": iteration, "split": split, "protocol": "T1"}
                rows += [{**place, "measure": m, "class": c, "value": value} for m, c, value in measured]
    write_table(metrics, rows)
    say(f"{metrics}: {len(models)} models evaluated on {', '.join(splits)}")


def predict(network: UNet, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Return the most probable class of each pixel, uint8 (n, H, W), for uint8 images (n, H, W, C).

    Raises:
        InputError: a logit is not finite.
    """
    with torch.inference_mode():
        logits = network(to_input(torch.from_numpy(images).to(device)))
        if not logits.isfinite().all():
            raise InputError("the model's logits are not finite")
        return logits.argmax(dim=1).to(torch.uint8).cpu().numpy()


def _confusion_of(network: UNet, data: Dataset, split: str, device: torch.device, path: str | Path) -> np.ndarray:
    blocks = progress(data.blocks(split), data.block_count(split), f"{path} on {split}", "blocks")
    try:
        return np.concatenate(
            [
                confusion_matrices(labels, predict(network, images, device), len(data.classes))
                for _, images, labels in blocks
            ]
        )
    except InputError as error:
        raise InputError(f"{path}: {error} ({split} split)") from error


def _stored(file: h5py.File, split: str, iterations: int, shape: tuple[int, ...]) -> h5py.Dataset:
    return file.require_dataset(split, (iterations, *shape), "int64", chunks=(1, *shape), compression="gzip")
