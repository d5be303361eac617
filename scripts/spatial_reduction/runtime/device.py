"""The device that a job computes on.

PyTorch is imported where it is needed: a job whose source of saliency asks no model does without.
"""

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spatial_reduction.runtime.allocation import keep_freed_memory
from spatial_reduction.runtime.determinism import set_determinism
from spatial_reduction.runtime.errors import InputError

if TYPE_CHECKING:
    import torch


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

        torch.set_num_threads(self.threads)
        set_determinism(self.deterministic)
        return choose_device(self.device)


def choose_device(name: str) -> "torch.device":
    """Return the device to compute on; `auto` takes CUDA, else Apple's MPS, else the CPU.

    On the CPU the process keeps the memory that it frees from here on, see `allocation.keep_freed_memory`.

    Raises:
        InputError: the named device does not exist on this machine.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, is_there in available.items() if is_there)
    if not available[name]:
        raise InputError(f"training.device: {name} is not available on this machine")
    if name == "cpu":
        keep_freed_memory()
    return torch.device(name)


def device_name(device: "torch.device") -> str:
    """Return what a report calls the device."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
