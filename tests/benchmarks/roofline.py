"""What a machine could do: its measured peaks, and the time that the convolutions of a step need at best."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


def wait(device: torch.device) -> None:
    """Wait until the device has done all it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Return the wall time of one call, until its last kernel has ended."""
    wait(device)
    begun = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - begun


@dataclass(frozen=True)
class Peaks:
    """Measured limits of a device: operations per second (2 per multiply-add), bytes per second."""

    flops: float
    bandwidth: float


def measure_peaks(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> Peaks:
    """Measure a square matrix product and a copy; the best of some repeats, as a limit is the best that was seen."""
    size = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    large = torch.empty(2**30 if device.type == "cuda" else 2**27, dtype=torch.uint8, device=device)
    target = torch.empty_like(large)
    products = [seconds(lambda: matrix @ matrix, device) for _ in range(repeats + 1)]
    copies = [seconds(lambda: target.copy_(large), device) for _ in range(repeats + 1)]
    return Peaks(2 * size**3 / min(products[1:]), 2 * large.numel() / min(copies[1:]))


class Convolutions(TorchDispatchMode):
    """Records the operations of each convolution that runs, and of its gradients, and the bytes they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.work: list[tuple[int, int]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        packet = function.overloadpacket
        if "convolution" in packet.__name__:
            flops = flop_registry[packet](*args, **(kwargs or {}), out_val=result)
            tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, torch.Tensor)]
            self.work.append((flops, sum(tensor.nbytes for tensor in tensors)))
        return result

    @property
    def flops(self) -> int:
        """Operations of all convolutions, two per multiply-add."""
        return sum(flops for flops, _ in self.work)

    def least_seconds(self, peaks: Peaks) -> float:
        """Return the time of all convolutions if each ran at the peak that binds it: the roofline model.

        Williams, Waterman, Patterson: Roofline (CACM 52, 2009).
        """
        return sum(max(flops / peaks.flops, size / peaks.bandwidth) for flops, size in self.work)
