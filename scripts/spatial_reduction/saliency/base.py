"""What a source of saliency is given, and how it is called by its name."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.own_code import load_file

Blocks = Iterable[tuple[np.ndarray, np.ndarray]]  # images uint8 (n, H, W, C), labels uint8 (n, H, W)


@dataclass(frozen=True)
class Context:
    """What a source may use beside the images.

    Attributes:
        model: file of the model whose saliency is asked for.
        machine: on which sources that ask a model compute.
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

    A source is a module of this package, or the path of a file of Python with the same function.

    With `rank` "lowest" their sign is changed: what the source finds least relevant has the highest score.
    """
    stream = _load_source(source).stream_scores(blocks, context)
    return stream if rank == "highest" else (-scores for scores in stream)


def uses_labels(source: str) -> bool:
    """Return whether a source needs the true labels."""
    return getattr(_load_source(source), "USES_LABELS", False)


def _load_source(source: str) -> ModuleType:
    """Return the module of a source: one of this package by its name, or the user's own by its file.

    Raises:
        InputError: the user's file cannot be imported, or holds no function `stream_scores`.
    """
    if not source.endswith(".py"):
        return importlib.import_module(f"spatial_reduction.saliency.{source}")
    module = load_file(source)
    if not callable(getattr(module, "stream_scores", None)):
        raise InputError(f"{source}: holds no function stream_scores(blocks, context)")
    return module
