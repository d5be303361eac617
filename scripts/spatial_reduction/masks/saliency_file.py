"""The saliency file: a score of each pixel of each training image."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5, open_hdf5, well_formed


@contextmanager
def create_scores(
    path: str | Path, count: int, shape: tuple[int, int], source: str, origin: Mapping[str, Any] | None = None
) -> Iterator[h5py.Dataset]:
    """Yield the scores to be written, float32 (count, H, W); the file appears when all are.

    Args:
        origin: what the job was asked for, kept in the file.
    """
    with create_hdf5(path, "saliency") as file:
        yield file.create_dataset("scores", (count, *shape), "float32", chunks=(1, *shape), fletcher32=True)
        file.attrs["source"], file.attrs["origin"] = source, json.dumps(origin or {})


@contextmanager
def open_scores(path: str | Path, count: int, shape: tuple[int, int]) -> Iterator[h5py.Dataset]:
    """Yield the scores, float32 (count, H, W).

    Raises:
        InputError: the file is damaged, or made for other images.
    """
    with open_hdf5(path, "saliency") as file:
        with well_formed(path):
            scores = file["scores"]
            if scores.shape != (count, *shape) or scores.dtype != np.float32:
                raise InputError(
                    f"{path}: scores are {scores.shape} {scores.dtype}, expected {(count, *shape)} float32"
                )
        yield scores
