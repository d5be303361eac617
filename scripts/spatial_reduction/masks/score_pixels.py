"""Compute the scores of all training images with one source; the saliency file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.apply_mask import Removal, reduced_blocks
from spatial_reduction.masks.derangement import draw_derangement
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5, open_hdf5, well_formed
from spatial_reduction.runtime.log import progress
from spatial_reduction.saliency.base import Context, stream_scores


def mask_carriers(count: int, seed: int) -> np.ndarray:
    """Return, for each of `count` images, the other image that carries its mask; int64 (count,).

    No image carries its own. It depends on (`count`, `seed`) alone and is therefore the same in every iteration.

    Raises:
        InputError: there is one image only.
    """
    if count < 2:
        raise InputError("shuffle: masks cannot be exchanged, there is one image only")
    return draw_derangement(count, (seed, *b"shuffle"))


def compute_saliency(
    dataset: str | Path,
    model: str | Path,
    mask: str | Path,
    output: str | Path,
    source: str,
    saliency_images: str,
    fill: str,
    classes_of_interest: Sequence[str],
    device: str,
    seed: int,
    iteration: int,
    threads: int,
    rank: str = "highest",
    shuffle: bool = False,
    removes: str = "input",
    deterministic: bool = False,
) -> None:
    """Write `saliency.h5`: float32 scores (N_train, H, W), one block of images in memory at a time.

    Args:
        source: name of a module of this package.
        saliency_images: `reduced` (as the model saw them in training, by `mask`, `fill` and `removes`) or `intact`.
        iteration: that the scores are for; the model is of the one before.
        rank: `highest`, or `lowest` to keep what the source finds least relevant.
        shuffle: give each image the scores of another one, the same in every iteration. That image is scored
            with what is left of it under the mask that the first one carries, so the first one carries, bit by
            bit, the nested masks that the other would have.

    Raises:
        InputError: a file is damaged, or a score is not a number.
    """
    data = Dataset.open(dataset, seed)
    count, (height, width, _) = data.count("train"), data.image_shape
    interest = data.class_indices(classes_of_interest)
    context = Context(Path(model), device, threads, len(data.classes), interest, seed, iteration, deterministic)
    carriers = mask_carriers(count, seed) if shuffle else None
    is_reduced = saliency_images == "reduced"
    blocks = reduced_blocks(data, mask, Removal(fill, removes), seed, carriers) if is_reduced else data.blocks("train")
    pairs = ((pixels, labels) for _, pixels, labels in blocks)
    stream = stream_scores(source, pairs, context, rank)
    done = 0
    with create_hdf5(output, "saliency") as file:
        shape, chunks = (count, height, width), (1, height, width)
        scores = file.create_dataset("scores", shape, "float32", chunks=chunks, fletcher32=True)
        for block in progress(stream, data.block_count("train"), f"{source} saliency", "blocks"):
            if np.isnan(block).any():
                raise InputError(f"{model}: {source} saliency is not a number in training images {done} and on")
            rows = slice(done, done + len(block))
            if carriers is None:
                scores[rows] = block
            else:  # HDF5 writes several rows at once in rising order only
                for carrier, image_scores in zip(carriers[rows], block, strict=True):
                    scores[carrier] = image_scores
            done += len(block)
        file.attrs["source"] = source


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
