"""Compute the scores of all training images with one source."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.apply_mask import Removal, reduced_blocks
from spatial_reduction.masks.derangement import draw_derangement
from spatial_reduction.masks.saliency_file import create_scores
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.log import progress
from spatial_reduction.saliency.base import Blocks, Context, stream_scores


@dataclass(frozen=True)
class Scoring:
    """How pixels are scored; keys of the section `reduction`.

    Attributes:
        source: name of a module of the package `saliency`.
        classes_of_interest: names of the classes whose pixels count as relevant.
        rank: `highest`, or `lowest` to keep what the source finds least relevant.
        shuffle: give each image A the scores of another image B, the same B in every iteration. B is scored as the
            mask that A carries leaves it, so A carries, bit by bit, the nested masks that B would have.
        saliency_images: `reduced` (as the model saw them in training) or `intact`.
    """

    source: str
    classes_of_interest: Sequence[str]
    rank: str = "highest"
    shuffle: bool = False
    saliency_images: str = "reduced"

    def context(self, data: Dataset, model: str | Path, machine: Machine, seed: int, iteration: int) -> Context:
        """Return what the source is given to score images for `iteration` by the model of the one before."""
        interest = data.class_indices(self.classes_of_interest)
        return Context(Path(model), machine, len(data.classes), interest, seed, iteration)

    def stream(self, blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
        """Yield the scores, float32 (n, H, W), of blocks of images and labels."""
        return stream_scores(self.source, blocks, context, self.rank)

    def carriers(self, count: int, seed: int) -> np.ndarray:
        """Return which image carries the mask made from each image's scores, int64 (count,).

        Where masks are exchanged, no image carries its own. It depends on (`count`, `seed`) alone and is therefore the
        same in every iteration.

        Raises:
            InputError: there is only one image, so no other can carry its mask.
        """
        if not self.shuffle:
            return np.arange(count)
        if count < 2:
            raise InputError("shuffle: masks cannot be exchanged, there is one image only")
        return draw_derangement(count, (seed, *b"shuffle"))

    def donors(self, count: int, seed: int) -> np.ndarray:
        """Return whose scores make the mask that each image carries, int64 (count,): the inverse of `carriers`."""
        return np.argsort(self.carriers(count, seed))


def compute_saliency(
    dataset: str | Path,
    model: str | Path,
    mask: str | Path,
    output: str | Path,
    scoring: Scoring,
    removal: Removal,
    machine: Machine,
    seed: int,
    iteration: int,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write `saliency.h5`: float32 scores (N_train, H, W), one block of images in memory at a time.

    Args:
        model, mask: of the iteration before.
        removal: what the model saw where a pixel was removed.
        iteration: that the scores are for.
        origin: what the job was asked for, kept in the file.

    Raises:
        InputError: a file is damaged, or a score is not a number.
    """
    data = Dataset.open(dataset, seed)
    count = data.count("train")
    carriers = scoring.carriers(count, seed)
    is_reduced = scoring.saliency_images == "reduced"
    blocks = reduced_blocks(data, mask, removal, seed, carriers) if is_reduced else data.blocks("train")
    pairs = ((pixels, labels) for _, pixels, labels in blocks)
    stream = scoring.stream(pairs, scoring.context(data, model, machine, seed, iteration))
    done = 0
    with create_scores(output, count, data.image_shape[:2], scoring.source, origin) as scores:
        for block in progress(stream, data.block_count("train"), f"{scoring.source} saliency", "blocks"):
            if np.isnan(block).any():
                raise InputError(f"{model}: {scoring.source} saliency is not a number in training images {done} and on")
            rows = slice(done, done + len(block))
            if scoring.shuffle:  # HDF5 writes several rows at once in rising order only
                for carrier, image_scores in zip(carriers[rows], block, strict=True):
                    scores[carrier] = image_scores
            else:
                scores[rows] = block
            done += len(block)
