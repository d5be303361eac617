"""Pictures of predictions: labels in colours, images overlaid with their classes. No torch."""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from colorsys import hsv_to_rgb
from pathlib import Path
from typing import BinaryIO

import numpy as np

from spatial_reduction.runtime.files import written_whole

# seaborn's palette "colorblind", as all figures have.
COLOURS = ("0173b2", "de8f05", "029e73", "d55e00", "cc78bc", "ca9161", "fbafe4", "949494", "ece133", "56b4e9")
GOLDEN_RATIO = 0.618034  # steps of it round the circle of hues keep any number of them apart
FILL = 0.35
BAND_PIXELS = 1 << 20  # of the rows that are handled at a time


def class_colours(classes: int) -> np.ndarray:
    """Return one colour per class, uint8 (classes, 3), the same in every picture and figure: a palette, then hues."""
    named = [tuple(bytes.fromhex(colour)) for colour in COLOURS[:classes]]
    further = [hsv_to_rgb(index * GOLDEN_RATIO % 1, 0.7, 0.85) for index in range(len(COLOURS), classes)]
    return np.array([*named, *(tuple(round(255 * part) for part in hue) for hue in further)], dtype=np.uint8)


def write_labels(path: str | Path, labels: np.ndarray, classes: int) -> None:
    """Write classes uint8 (H, W) as a palette PNG: the pixels hold the class index, viewers show its colour."""
    _write_png(path, labels.shape, (labels[rows] for rows in _bands(labels.shape)), class_colours(classes))


def write_overlay(
    path: str | Path,
    read: Callable[[slice], np.ndarray],
    labels: np.ndarray,
    classes: int,
    foreground: Sequence[int],
) -> None:
    """Write an image as PNG with the classes of the foreground tinted, and outlined in their full colour.

    Args:
        read: rows -> pixels uint8 (h, W, 3) or, grey, (h, W, 1); a large image is in memory in bands only.
        labels: uint8 (H, W).
    """
    colours = class_colours(classes)

    def blended(rows: slice) -> np.ndarray:
        around = slice(max(0, rows.start - 1), rows.stop + 1)
        is_outline = outlines(labels[around])[rows.start - around.start :][: rows.stop - rows.start]
        strength = np.where(is_outline, 1.0, FILL) * np.isin(labels[rows], foreground)
        pixels = read(rows) * (1 - strength[..., None]) + colours[labels[rows]] * strength[..., None]
        return np.rint(pixels).astype(np.uint8)

    _write_png(path, labels.shape, map(blended, _bands(labels.shape)), None)


def _bands(size: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, BAND_PIXELS // size[1])
    for start in range(0, size[0], step):
        yield slice(start, min(start + step, size[0]))


def outlines(labels: np.ndarray) -> np.ndarray:
    """Return the pixels that share a side with another class, bool (H, W)."""
    is_outline = np.zeros(labels.shape, dtype=bool)
    below, beside = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    is_outline[1:] |= below
    is_outline[:-1] |= below
    is_outline[:, 1:] |= beside
    is_outline[:, :-1] |= beside
    return is_outline


def _write_png(
    path: str | Path, size: tuple[int, ...], bands: Iterable[np.ndarray], palette: np.ndarray | None
) -> None:
    """Write bands of rows, uint8 (h, W) of a palette uint8 (n, 3) or (h, W, 3), as they come.

    Pillow wants the whole picture, which takes as much memory once more. A row of colours is stored as the differences
    between neighbours (filter 1 of the PNG specification), which compress better.
    """
    compress = zlib.compressobj(6)
    with written_whole(path) as partial, open(partial, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 8, 2 if palette is None else 3, 0, 0, 0))
        if palette is not None:
            _write_chunk(file, b"PLTE", palette.tobytes())
        for band in bands:
            lines = np.zeros((len(band), 1 + size[1] * (3 if palette is None else 1)), dtype=np.uint8)
            lines[:, 1:] = band.reshape(len(band), -1)
            if palette is None:
                lines[:, 4:] -= band.reshape(len(band), -1)[:, :-3]
                lines[:, 0] = 1
            if data := compress.compress(lines):
                _write_chunk(file, b"IDAT", data)
        _write_chunk(file, b"IDAT", compress.flush())
        _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, name: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
