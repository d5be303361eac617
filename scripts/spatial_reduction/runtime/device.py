"""The device that a job computes on."""

import platform

import torch

from spatial_reduction.runtime.allocation import keep_freed_memory
from spatial_reduction.runtime.errors import InputError


def choose_device(name: str) -> torch.device:
    """Return the device to compute on; `auto` takes CUDA, else Apple's MPS, else the CPU.

    On the CPU the process keeps the memory that it frees from here on, see `allocation.keep_freed_memory`.

    Raises:
        InputError: the named device does not exist on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, is_there in available.items() if is_there)
    if not available[name]:
        raise InputError(f"training.device: {name} is not available on this machine")
    if name == "cpu":
        keep_freed_memory()
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return what a report calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
