"""Which of a machine's GPUs a job takes: each its own, or the one that the fewest others use. No torch.

Snakemake counts how many jobs run (`--resources gpu=N`), not where. So a job locks a file of the GPU that it takes, in
the folder for temporary files; a lock ends with its process, however that ends.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
SHARES = 64  # jobs on one GPU that have a lock of their own

_held: list[int] = []  # the open lock of this process


def visible_devices() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; [] without any.

    That variable's own, if it is set; else all that the driver lists, of a GPU that is divided (MIG) its parts.
    """
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listed_devices(answer.stdout) if answer.returncode == 0 else []


def listed_devices(text: str) -> list[str]:
    """Return the identifiers of what `nvidia-smi -L` lists: of a divided GPU, those of its parts."""
    found: list[str] = []
    for line in text.splitlines():
        identifier = re.search(r"\(UUID: ([^)]+)\)", line)
        if not identifier:
            continue
        is_part = line.lstrip().startswith("MIG")
        if is_part and found and found[-1].startswith("GPU-"):
            found.pop()
        found.append(identifier[1])
    return found


def take_device() -> str | None:
    """Let this process see one GPU alone, before CUDA starts, and return it; None where there is nothing to choose.

    The first that no other job has taken; where all are taken, the first of those that the fewest have.
    """
    devices = visible_devices()
    if _held or len(devices) < 2:
        return None
    chosen = _lock_one(devices) or devices[os.getpid() % len(devices)]
    os.environ[VISIBLE] = chosen
    return chosen


def _lock_one(devices: Sequence[str]) -> str | None:
    for share, device in product(range(SHARES), devices):
        name = re.sub(r"[^A-Za-z0-9-]", "_", device)
        path = Path(tempfile.gettempdir()) / f"spatial_reduction_gpu_{name}_{share}"
        try:
            lock = _opened(path)
        except OSError:  # another user's file, or a folder that is full
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        _held.append(lock)
        return device
    return None


def _opened(path: Path) -> int:
    """Open a file for its lock alone: to read is enough, so that it may be another user's."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
