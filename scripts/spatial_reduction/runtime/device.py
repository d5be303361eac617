"""The device that a job computes on.

PyTorch is imported where it is needed: a job whose source of saliency asks no model does without.
"""

import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spatial_reduction.runtime.allocation import keep_freed_memory
from spatial_reduction.runtime.determinism import set_determinism
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.gpu_share import VISIBLE, take_device
from spatial_reduction.runtime.log import say

if TYPE_CHECKING:
    import torch

DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Machine:
    """What a job computes on.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: CPU threads of the job.
        deterministic: see `determinism.set_determinism`.
    """

    device: str
    threads: int
    deterministic: bool = False

    def enter(self) -> "torch.device":
        """Set this process up for the machine and return the device; to enter it again changes nothing.

        Raises:
            InputError: the device does not exist on this machine.
        """
        import torch

        if self.device in ("auto", "cuda"):
            take_device()
        torch.set_num_threads(self.threads)
        set_tf32(False)
        set_determinism(self.deterministic)
        return choose_device(self.device)


def set_tf32(is_wanted: bool) -> None:
    """Let convolutions and products of float32 tensors round their factors to 10 bits on a GPU that can, or not.

    PyTorch's own default rounds in convolutions. Masks and measures are made in IEEE float32; a training rounds where
    its `precision` says so.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = is_wanted
    torch.backends.cuda.matmul.allow_tf32 = is_wanted


def choose_device(name: str) -> "torch.device":
    """Return the device to compute on; `auto` takes CUDA, else Apple's MPS, else the CPU.

    On the CPU the process keeps the memory that it frees from here on, see `allocation.keep_freed_memory`.

    Raises:
        InputError: the named device does not exist on this machine.
    """
    import torch

    reason = why_no_cuda() if name in ("auto", "cuda") else None
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, is_there in available.items() if is_there)
    if not available[name]:
        raise InputError(
            f"training.device: {name} is not available on this machine" + (f": {reason}" if reason else "")
        )
    if reason:
        say(f"this machine's GPU cannot be used: {reason}. Computing on {name}; training.device: {name} means that")
    if name == "cpu":
        keep_freed_memory()
    return torch.device(name)


def why_no_cuda() -> str | None:
    """Return in one line why PyTorch cannot use the GPU of this machine, most often a driver that is too old for it.

    None where it can, or where no driver is there, or where CUDA_VISIBLE_DEVICES hides all GPUs.
    """
    import torch

    with warnings.catch_warnings(action="ignore"):  # of the same reason, on two lines
        if torch.cuda.is_available() or not DRIVER.exists() or os.environ.get(VISIBLE, "all") in ("", "-1"):
            return None
        if torch.version.cuda is None:
            return f"torch {torch.__version__} is built without CUDA"
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            cause = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            return f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, and says: {cause}"
    return None


@contextmanager
def memory_told(device: "torch.device", what: str) -> Iterator[None]:
    """Turn what a full GPU raises into one line that says what was computed and how much of the memory others have.

    Raises:
        InputError: the memory of the device is full.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(f"the memory of {device_name(device)} is full{_memory_use(device)}: {what}") from error


def _memory_use(device: "torch.device") -> str:
    import torch

    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    own = torch.cuda.memory_reserved(device)
    others = total - free - own
    return f" ({total >> 20} MiB, of which this job has {own >> 20} and what else runs there {others >> 20})"


def moved(tensor: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Return a tensor on a device.

    A copy to CUDA begins in memory that stays in place, and so waits for nothing that the GPU does. Elsewhere a copy
    is over when this returns: on Apple's GPUs, one from ordinary memory that is not waited for may copy what has been
    freed meanwhile.
    """
    if tensor.device == device or (device.type == "cuda" and tensor.is_cuda):
        return tensor
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def device_name(device: "torch.device") -> str:
    """Return what a report calls the device."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
