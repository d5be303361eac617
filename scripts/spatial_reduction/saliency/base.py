"""What a source of saliency is given, and how it is called by its name."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spatial_reduction.runtime.device import Machine

Blocks = Iterable[tuple[np.ndarray, np.ndarray]]  # images uint8 (n, H, W, C), labels uint8 (n, H, W)


@dataclass(frozen=True)
class Context:
    """What a source may use beside the images.

    Attributes:
        model: file of the model whose saliency is asked for.
        machine: that sources compute on that ask a model.
        classes: number of classes of the data set.
        classes_of_interest: label values whose pixels count as relevant.
        seed, iteration: for sources that draw at random.
    """

    model: Path
    machine: Machine
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


def uses_labels(source: str) -> bool:
    """Return whether a source needs the true labels."""
    return getattr(importlib.import_module(f"spatial_reduction.saliency.{source}"), "USES_LABELS", False)
