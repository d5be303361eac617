"""The machine that a benchmark runs on: its name, and its limits as they are measured beside the rows."""

import datetime
import os
import platform
import time
from pathlib import Path

import numpy as np

MATRIX_SIDE = 2048  # 17 GFLOP a product: 0.1 to 0.2 s on two cores
COPIED_BYTES = 1 << 28  # beyond every cache


def describe(threads: int) -> str:
    """Return one line: date, processor, cores, threads, system and the versions that matter."""
    import torch

    date, system = f"{datetime.date.today()}", f"{platform.system()} {platform.machine()}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    busy = os.getloadavg()[0]
    return f"{date}, {processor()}, {os.cpu_count()} cores (load {busy:.1f}), {threads} threads, {system}, {versions}"


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def matrix_product() -> float:
    """Return the floating-point operations per second of a large float32 matrix product, with torch's threads."""
    import torch

    left, right = torch.ones(MATRIX_SIDE, MATRIX_SIDE), torch.ones(MATRIX_SIDE, MATRIX_SIDE)
    begun = time.perf_counter()
    left @ right
    return 2 * MATRIX_SIDE**3 / (time.perf_counter() - begun)


def memory_copy() -> float:
    """Return the bytes per second of copying a large array, one thread; bytes are counted once."""
    source, target = np.ones(COPIED_BYTES, dtype=np.uint8), np.ones(COPIED_BYTES, dtype=np.uint8)
    begun = time.perf_counter()
    np.copyto(target, source)
    return COPIED_BYTES / (time.perf_counter() - begun)


def peak_memory() -> int:
    """Return the most bytes that this process has held; unlike getrusage, without its parent's before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status does not tell the peak of the memory")
