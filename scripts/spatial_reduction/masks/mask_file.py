"""The mask file: which pixels of each training image are kept."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import CHUNK_BYTES, create_hdf5, open_hdf5, read_rows, well_formed


class MaskFile:
    """An open mask file: bool (n, H, W) blocks, 1 bit per pixel on disk, 1 = kept."""

    def __init__(self, file: h5py.File) -> None:
        self.kept = file["kept"]
        self.count, self.shape = len(self.kept), tuple(int(size) for size in file.attrs["image_shape"])
        self.attributes: dict[str, Any] = dict(file.attrs.items())

    def read(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return bool (n, H, W) for some images: a slice, or positions int (n,) in any order."""
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


def read_mask_origin(path: str | Path) -> dict[str, Any]:
    """Return what made a mask, {rule: what its job was asked for}, and the digests of its `files`; {} if it is intact.

    Raises:
        InputError: the file is damaged.
    """
    with open_hdf5(path, "mask") as file, well_formed(path):
        return json.loads(file.attrs.get("origin", "{}"))


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
