"""Masks: which pixels of each training image are kept. Ranking, exact counts, the mask file."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spatial_reduction.errors import InputError
from spatial_reduction.storage import CHUNK_BYTES, create_hdf5, open_hdf5, read_rows, well_formed


def kept_count(pixels: int, threshold: float | str | Fraction) -> int:
    """Return how many of `pixels` stay when the top `threshold` per cent are kept.

    floor(pixels * (100 - threshold) / 100) are removed, in exact arithmetic: 16,384 at 90 keeps 14,746,
    and those at 90 keep 13,272. (In floating point, int(10 * (1 - 0.9)) is 0.)
    """
    removed = Fraction(pixels) * (100 - Fraction(str(threshold))) / 100
    return pixels - removed.__floor__()


def kept_counts(schedule: str, threshold: float | str, step: float, iterations: int, pixels: int) -> list[int]:
    """Return the number of pixels of an image that each of iterations 1..K trains on.

    Schedules (`threshold` p, iteration k > 1; iteration 1 keeps all):
        compounding: p per cent of what iteration k-1 kept.
        constant: p per cent of the image.
        additive: p + step * (k - 2) per cent of the image, at most all of it.
    """
    counts = [pixels]
    for iteration in range(2, iterations + 1):
        if schedule == "compounding":
            counts.append(kept_count(counts[-1], threshold))
        elif schedule == "constant":
            counts.append(kept_count(pixels, threshold))
        else:
            share = Fraction(str(threshold)) + Fraction(str(step)) * (iteration - 2)
            counts.append(kept_count(pixels, min(share, Fraction(100))))
    return counts


def shrink_mask(kept: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """Keep the `count` highest-scoring of the pixels kept so far, in each image.

    Args:
        kept: bool (N, P) or (N, H, W), the same number of True in every image.
        scores: float32, of the same shape; equal scores are kept in order of pixel index.
        count: pixels to keep in every image.

    Returns:
        bool, of the same shape, with exactly `count` True per image, a subset of `kept`.

    Raises:
        InputError: a score is NaN.
        ValueError: the images of `kept` differ in their number, or `count` exceeds it.
    """
    shape = kept.shape
    kept, scores = kept.reshape(len(kept), -1), scores.reshape(len(scores), -1)
    totals = {int(np.count_nonzero(row)) for row in kept}
    if len(totals) > 1 or min(totals) < count:
        raise ValueError(f"cannot keep {count} of {sorted(totals)} pixels")
    if np.isnan(scores.max()):
        raise InputError("saliency holds a score that is not a number")
    if count in (0, *totals):
        return (kept.copy() if count else np.zeros_like(kept)).reshape(shape)
    shrunk = np.empty_like(kept)
    for one, before, row in zip(shrunk, kept, scores, strict=True):  # an image at a time: it stays in the cache
        _keep_highest(row, before, count, out=one)
    return shrunk.reshape(shape)


def _keep_highest(scores: np.ndarray, kept: np.ndarray, count: int, out: np.ndarray) -> None:
    """Write into `out` which pixels (P,) are the `count` highest-scoring of those `kept`."""
    # Removed pixels score -inf. Arithmetic is vectorised; np.where or boolean indices take three times as long.
    highest = kept.astype(np.float32)  # +inf where kept, -inf elsewhere
    highest -= np.float32(0.5)
    highest *= np.float32(np.inf)
    candidates = np.minimum(scores, highest, out=highest)
    place = len(candidates) - count
    cut = np.partition(candidates, place)[place]  # the count-th highest score
    np.greater_equal(candidates, cut, out=out)
    if np.count_nonzero(out) > count:  # more pixels have this score than may stay
        np.greater(candidates, cut, out=out)
        tied = np.flatnonzero((candidates == cut) & kept)
        out[tied[: count - np.count_nonzero(out)]] = True


class MaskFile:
    """An open mask file: bool (n, H, W) blocks, 1 bit per pixel on disk, 1 = kept."""

    def __init__(self, file: h5py.File) -> None:
        self.kept = file["kept"]
        self.count, self.shape = len(self.kept), tuple(int(size) for size in file.attrs["image_shape"])
        self.attributes: dict[str, Any] = dict(file.attrs.items())

    def read(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return bool (n, H, W) for some images: a run of them, or positions int (n,) in any order."""
        packed = self.kept[rows] if isinstance(rows, slice) else read_rows(self.kept, rows)
        bits = np.unpackbits(packed, axis=1, count=self.shape[0] * self.shape[1])
        return bits.reshape(len(packed), *self.shape).view(bool)


@contextmanager
def open_mask(path: str | Path, count: int, shape: tuple[int, int]) -> Iterator[MaskFile]:
    """Yield the masks of `count` images of `shape` (H, W).

    Raises:
        InputError: the file is damaged, or made for other images.
    """
    with open_hdf5(path, "mask") as file:
        with well_formed(path):
            mask = MaskFile(file)
            width = -(-mask.shape[0] * mask.shape[1] // 8)
            if mask.kept.dtype != np.uint8 or mask.kept.shape[1:] != (width,):
                raise InputError(f"{path}: masks {mask.kept.shape} {mask.kept.dtype} are not of {mask.shape} pixels")
        if (mask.count, mask.shape) != (count, tuple(shape)):
            raise InputError(
                f"{path}: holds {mask.count} masks of {mask.shape} pixels, "
                f"the data set has {count} training images of {tuple(shape)}"
            )
        yield mask


def write_mask(
    path: str | Path, blocks: Iterator[np.ndarray], shape: tuple[int, int], attributes: Mapping[str, Any]
) -> None:
    """Write masks given as bool (n, H, W) blocks; record the kept share and the digest of all bits."""
    digest, kept, images = hashlib.sha256(), 0, 0
    width = -(-shape[0] * shape[1] // 8)
    with create_hdf5(path, "mask") as file:
        stored = file.create_dataset(
            "kept",
            (0, width),
            "uint8",
            chunks=(max(1, CHUNK_BYTES // width), width),
            maxshape=(None, width),
            fletcher32=True,
        )
        for block in blocks:
            packed = np.packbits(block.reshape(len(block), -1), axis=1)
            stored.resize(images + len(block), axis=0)
            stored[images:] = packed
            digest.update(packed.tobytes())
            kept += int(block.sum())
            images += len(block)
        file.attrs["image_shape"] = shape
        file.attrs["kept_pixels"] = kept // images
        file.attrs["kept_share"] = 100 * kept / (images * shape[0] * shape[1])
        file.attrs["digest"] = digest.hexdigest()
        for key, value in attributes.items():
            file.attrs[key] = value
