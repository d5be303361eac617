"""Compute the scores of all training images with one source; the saliency file."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from spatial_reduction.dataset import Dataset
from spatial_reduction.errors import InputError
from spatial_reduction.joblog import progress
from spatial_reduction.partners import draw_partners
from spatial_reduction.reduction import reduced_blocks
from spatial_reduction.storage import create_hdf5, open_hdf5

Blocks = Iterable[tuple[np.ndarray, np.ndarray]]  # images uint8 (n, H, W, C), labels uint8 (n, H, W)


@dataclass(frozen=True)
class Context:
    """What a source may use beside the images.

    Attributes:
        model: file of the model whose saliency is asked for.
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: CPU threads of the job.
        classes: number of classes of the data set.
        classes_of_interest: label values whose pixels count as relevant.
        seed, iteration: for sources that draw at random.
    """

    model: Path
    device: str
    threads: int
    classes: int
    classes_of_interest: Sequence[int]
    seed: int
    iteration: int


def stream_scores(source: str, blocks: Blocks, context: Context, rank: str = "highest") -> Iterator[np.ndarray]:
    """Yield the scores of a source, float32 (n, H, W), for blocks of images and labels.

    With `rank` "lowest" their sign is changed: what the source finds least relevant has the highest score.
    """
    stream = importlib.import_module(f"spatial_reduction.saliency.{source}").stream_scores(blocks, context)
    return stream if rank == "highest" else (-scores for scores in stream)


def mask_carriers(count: int, seed: int) -> np.ndarray:
    """Return, for each of `count` images, the other image that carries its mask; int64 (count,).

    No image carries its own. It depends on (`count`, `seed`) alone and is therefore the same in every iteration.

    Raises:
        InputError: there is one image only.
    """
    if count < 2:
        raise InputError("shuffle: masks cannot be exchanged, there is one image only")
    return draw_partners(count, (seed, *b"shuffle"))


def uses_labels(source: str) -> bool:
    """Return whether a source needs the true labels."""
    return getattr(importlib.import_module(f"spatial_reduction.saliency.{source}"), "USES_LABELS", False)


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
    data = Dataset.open(dataset)
    count, (height, width, _) = data.count("train"), data.image_shape
    context = Context(
        Path(model), device, threads, len(data.classes), data.class_indices(classes_of_interest), seed, iteration
    )
    carriers = mask_carriers(count, seed) if shuffle else None
    is_reduced = saliency_images == "reduced"
    blocks = reduced_blocks(data, mask, fill, seed, removes, carriers) if is_reduced else data.blocks("train")
    pairs = ((pixels, labels) for _, pixels, labels in blocks)
    stream = stream_scores(source, pairs, context, rank)
    done = 0
    with create_hdf5(output, "saliency") as file:
        scores = file.create_dataset(
            "scores", (count, height, width), "float32", chunks=(1, height, width), fletcher32=True
        )
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
        scores = file["scores"]
        if scores.shape != (count, *shape) or scores.dtype != np.float32:
            raise InputError(f"{path}: scores are {scores.shape} {scores.dtype}, expected {(count, *shape)} float32")
        yield scores
