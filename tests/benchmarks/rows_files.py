"""Rows: preparing, the peak memory of the stages, the layout of the data set file."""

import os
import time
from pathlib import Path

import h5py
import numpy as np
from machine import memory_copy
from material import Stage
from measuring import Row, alternate, divide, run_fresh, spread
from stages import write_first_files

from spatial_reduction.data.dataset_file import BLOCK_PIXELS
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.masks.score_pixels import compute_saliency
from spatial_reduction.runtime.files import CHUNK_BYTES

SIDE, FEWER, TIMES = 128, 96, 8
SHARES = (4, 48)  # per cent for validation and test: as much to evaluate as to score
MEASURED = ("prepare", "saliency", "mask", "evaluate")
LAYOUTS = {
    "64 KiB": (CHUNK_BYTES, {}),
    "one image": (1, {}),
    "1 MiB": (1 << 20, {}),
    "whole": (1 << 40, {}),
    "64 KiB, lzf": (CHUNK_BYTES, {"compression": "lzf"}),
    "64 KiB, gzip": (CHUNK_BYTES, {"compression": "gzip", "compression_opts": 1}),
}


def measure_preparation(folder: Path, pictures: Path, images: int, n: int) -> list[Row]:
    """Compare preparing with one thread and with two."""
    stage = Stage(folder / "preparation", pictures).prepare(images, SIDE)

    def prepare(threads: int) -> float:
        begun = time.perf_counter()
        prepare_dataset(**stage.preparation(images, SIDE, threads))
        return time.perf_counter() - begun

    found = alternate({"one": lambda: prepare(1), "two": lambda: prepare(2), "copy": memory_copy}, n)
    rates = [images / seconds for seconds in found["two"]]
    size = stage.file("dataset.h5").stat().st_size
    shares = [100 * size / (a * b) for a, b in zip(found["two"], found["copy"], strict=True)]
    limit = f"writes at {spread(shares, 1)} % of a memory copy: decoding decides"
    ratios = divide(found["one"], found["two"])
    return [Row("prepare: 1 thread / 2 threads", rates, "images/s", ratios, ("at least", 1.8), limit)]


def measure_memory(folder: Path, pictures: Path, n: int) -> list[Row]:
    """Compare the peak memory of the stages over eight times the images with that over one, each in a fresh process."""
    stages = {}
    for images in (FEWER, TIMES * FEWER):
        stage = Stage(folder / f"memory_{images}", pictures, widths=(8, 16, 32)).prepare(images, SIDE, SHARES)
        write_first_files(stage)
        compute_saliency(**stage.saliency(threads=1))
        stages[images] = stage.functions(stage.preparation(images, SIDE, 2, SHARES))
    rows = []
    for name in MEASURED:
        runs = {images: lambda how=how[name]: run_fresh(*how)[1] for images, how in stages.items()}
        found = alternate(runs, n, warm_up=False)
        more, fewer = found[TIMES * FEWER], found[FEWER]
        what = f"peak memory of {name}: {TIMES * FEWER} images / {FEWER}"
        rows.append(Row(what, [peak / 2**20 for peak in more], "MiB", divide(more, fewer), ("at most", 1.15)))
    return rows


def measure_layouts(folder: Path, pictures: Path, images: int, n: int) -> list[Row]:
    """Compare how fast images of 64 x 64 pixels are read in other layouts, in blocks and one at random."""
    stage = Stage(folder / "layouts", pictures).prepare(images, SIDE)
    with h5py.File(stage.file("dataset.h5")) as file:
        pixels = quarters(file["images"][:])
    paths = {name: write_layout(stage.file(f"{name}.h5"), pixels, *how) for name, how in LAYOUTS.items()}
    np.save(stage.file("bare.npy"), pixels)
    order = np.random.default_rng(0).integers(0, len(pixels), 64)
    blocks = {name: lambda p=path: read_blocks(p, pixels.nbytes) for name, path in paths.items()}
    single = {name: lambda p=path: read_single(p, order) for name, path in paths.items()}
    found = alternate(blocks | {"bare": lambda: read_bare(stage.file("bare.npy"))}, n)
    singles = alternate(single, n)
    ours = next(iter(LAYOUTS))
    limit = f"{spread([100 * share for share in divide(found[ours], found['bare'])], 0)} % of reading a bare file"
    rows = []
    for name, path in list(paths.items())[1:]:
        size = path.stat().st_size / paths[ours].stat().st_size
        what = f"chunks of {ours} / of {name} ({size:.2f} times the bytes)"
        rows.append(
            Row(f"read blocks, {what}", mega(found[ours]), "MB/s", divide(found[ours], found[name]), None, limit)
        )
        rows.append(Row(f"read single images, {what}", singles[ours], "images/s", divide(singles[ours], singles[name])))
    return rows


def quarters(images: np.ndarray) -> np.ndarray:
    """Cut each image into four of half the side, as an array (4 N, H / 2, W / 2, C)."""
    count, side, _, channels = images.shape
    parts = images.reshape(count, 2, side // 2, 2, side // 2, channels).swapaxes(2, 3)
    return np.ascontiguousarray(parts.reshape(-1, side // 2, side // 2, channels))


def mega(values: list[float]) -> list[float]:
    """Return millions."""
    return [value / 1e6 for value in values]


def write_layout(path: Path, pixels: np.ndarray, chunk_bytes: int, how: dict) -> Path:
    """Write images with chunks of so many bytes, a checksum on each as in a data set."""
    images = max(1, min(len(pixels), chunk_bytes // pixels[0].nbytes))
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=pixels, chunks=(images, *pixels.shape[1:]), fletcher32=True, **how)
    return path


def read_blocks(path: Path, size: int) -> float:
    """Return the bytes per second of reading all in blocks of 2 to the 19th pixels."""
    begun = time.perf_counter()
    with h5py.File(path) as file:
        images = file["images"]
        for start in range(0, len(images), BLOCK_PIXELS // (SIDE // 2) ** 2):
            images[start : start + BLOCK_PIXELS // (SIDE // 2) ** 2]
    return size / (time.perf_counter() - begun)


def read_single(path: Path, order: np.ndarray) -> float:
    """Return the images per second of reading them one by one in some order, for half a second at most."""
    with h5py.File(path) as file:
        images, begun, count = file["images"], time.perf_counter(), 0
        while count < len(order) and time.perf_counter() < begun + 0.5:
            images[int(order[count])]
            count += 1
        return count / (time.perf_counter() - begun)


def read_bare(path: Path) -> float:
    """Return the bytes per second of reading a file of nothing but the pixels, in pieces of the same size."""
    begun, piece = time.perf_counter(), bytearray(3 * BLOCK_PIXELS)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(piece):
            pass
    return os.path.getsize(path) / (time.perf_counter() - begun)
