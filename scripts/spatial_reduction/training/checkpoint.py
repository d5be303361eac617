"""What a training needs to resume after it was killed: kept outside the declared outputs, never a pickle.

Snakemake deletes the outputs of a job that failed, and of all jobs that travel with it as one Slurm job. So a
training that has ended leaves its weights in its checkpoint, too, until the models of its chain have been
evaluated: when the sixth training of a chain runs into the time limit, the first five are not computed again.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.log import say
from spatial_reduction.runtime.tensor_file import load_tensors, save_tensors

Tensors = Mapping[str, torch.Tensor]
SHARE_OF_TIME = 1 / 20  # of a training, for its checkpoints; a kill costs the time of 20 of them and an epoch at most


@dataclass
class Progress:
    """How far a training has come, beside its tensors.

    Attributes:
        epoch: epochs done in this iteration.
        learning_rate: of the next epoch.
        plateau: {best, waited} of the learning-rate schedule.
        best_loss: lowest validation loss so far.
        history: one row per epoch done.
    """

    epoch: int
    learning_rate: float
    plateau: dict[str, float] = field(default_factory=dict)
    best_loss: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Pace:
    """When the next checkpoint is due: after the first epoch, then as often as `SHARE_OF_TIME` allows.

    A training that resumes from any epoch ends with the same bits, so this decides only how much work a kill costs.
    """

    ended: float = float("-inf")
    took: float = 0

    def is_due(self) -> bool:
        """Return whether a checkpoint may be written now."""
        return time.perf_counter() - self.ended >= self.took / SHARE_OF_TIME

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the writing of a checkpoint."""
        begun = time.perf_counter()
        yield
        self.ended = time.perf_counter()
        self.took = self.ended - begun


def checkpoint_path(model: str | Path) -> Path:
    """Return where the training that writes `model` keeps its checkpoint."""
    return Path(model).with_name("checkpoint.safetensors")


def remove_checkpoints(models: Sequence[str | Path]) -> None:
    """Remove the checkpoints of the trainings that wrote `models`."""
    for model in models:
        checkpoint_path(model).unlink(missing_ok=True)


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """Return a digest of everything that determines a training; a checkpoint of another one is not used."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def save_checkpoint(path: Path, identity: str, progress: Progress, parts: Mapping[str, Tensors]) -> None:
    """Write progress and named groups of tensors (model, optimizer, best) into one safetensors file."""
    tensors = {f"{part}/{name}": tensor for part, group in parts.items() for name, tensor in group.items()}
    save_tensors(path, tensors, {"identity": identity, "progress": asdict(progress)})


def load_checkpoint(path: Path, identity: str) -> tuple[Progress, dict[str, dict[str, torch.Tensor]]] | None:
    """Return what `save_checkpoint` wrote, or None to begin at the first epoch.

    None for a missing, damaged or foreign checkpoint; the log says which.
    """
    if not path.exists():
        return None
    try:
        tensors, description = load_tensors(path)
    except InputError as error:
        say(f"{error}; training begins at the first epoch")
        return None
    if description.get("identity") != identity:
        say(f"{path}: checkpoint of another training (data, mask, settings); training begins at the first epoch")
        return None
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        part, rest = name.split("/", 1)
        parts.setdefault(part, {})[rest] = tensor
    progress = Progress(**description["progress"])
    say(f"{path}: resuming after epoch {progress.epoch}")
    return progress, parts
