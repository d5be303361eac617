"""The data set file: images and labels of all splits, read in blocks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spatial_reduction.data.splits import SPLITS
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import open_hdf5, read_rows, well_formed

Reader = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # positions -> images, labels

BLOCK_PIXELS = 1 << 19  # at width 32 and float32, one feature map of a block takes 64 MiB


@dataclass(frozen=True)
class Dataset:
    """A prepared data set on disk; pixels are read on demand, so its size does not bound memory.

    Attributes:
        path: the HDF5 file.
        classes: class names; the position is the label value.
        image_shape: (H, W, C).
        mean, std: of each channel over the training split, in units of [0, 1].
        digest: SHA-256 of all images, labels, objects and their split.
        spans: first and past-the-last image of each split (splits are stored one after the other).
        has_instances: whether objects are told apart.
    """

    path: Path
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    spans: dict[str, tuple[int, int]]
    has_instances: bool = False

    @classmethod
    def open(cls, path: str | Path) -> "Dataset":
        """Read a data set's description.

        Raises:
            InputError: the file is damaged or is not a data set of this schema version.
        """
        with open_hdf5(path, "dataset") as file, well_formed(path):
            images, labels = file["images"], file["labels"]
            if (images.dtype, labels.dtype, images.ndim) != (np.uint8, np.uint8, 4) or labels.shape != images.shape[:3]:
                raise InputError(
                    f"{path}: images {images.shape} {images.dtype} do not fit labels {labels.shape} {labels.dtype}"
                )
            instances = file.get("instances")
            if instances is not None and (instances.shape, instances.dtype) != (labels.shape, np.uint16):
                raise InputError(
                    f"{path}: instances {instances.shape} {instances.dtype} do not fit labels {labels.shape}"
                )
            dataset = cls(
                path=Path(path),
                classes=tuple(file.attrs["classes"]),
                image_shape=tuple(int(size) for size in images.shape[1:]),
                mean=tuple(float(value) for value in file.attrs["channel_mean"]),
                std=tuple(float(value) for value in file.attrs["channel_std"]),
                digest=str(file.attrs["digest"]),
                spans=_spans(path, file),
                has_instances=instances is not None,
            )
        numbers = [*dataset.mean, *dataset.std]
        if len(numbers) != 2 * dataset.image_shape[2] or not np.isfinite(numbers).all():
            raise InputError(
                f"{path}: channel_mean and channel_std are not one number per channel; delete it and run again"
            )
        return dataset

    def count(self, split: str) -> int:
        """Return the number of images in a split."""
        first, end = self.spans[split]
        return end - first

    @property
    def pixel_count(self) -> int:
        """H * W."""
        return self.image_shape[0] * self.image_shape[1]

    @property
    def block(self) -> int:
        """Images handled at a time where they stream: 32 of 128 x 128 pixels, fewer of larger ones."""
        return max(1, BLOCK_PIXELS // self.pixel_count)

    def class_indices(self, names: Sequence[str]) -> list[int]:
        """Return the label values of the named classes."""
        return [self.classes.index(name) for name in names]

    def names(self, split: str) -> list[str]:
        """Return the names of a split's images."""
        with open_hdf5(self.path, "dataset") as file, well_formed(self.path):
            return [name.decode() for name in file["names"][slice(*self.spans[split])]]

    def pick(self, split: str, positions: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return some images uint8 (n, H, W, C) and labels uint8 (n, H, W) of a split, in any order."""
        with self.reader(split) as read:
            return read(np.asarray(positions))

    @contextmanager
    def reader(self, split: str) -> Iterator[Reader]:
        """Yield a function: positions int64 (n,) in the split -> what `pick` returns; the file stays open for it."""
        first = self.spans[split][0]
        with open_hdf5(self.path, "dataset") as file:
            images, labels = file["images"], file["labels"]

            def read(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                rows = first + positions
                return read_rows(images, rows), self._known(read_rows(labels, rows))

            yield read

    def instances(self, split: str, where: slice = slice(None)) -> np.ndarray:
        """Return the objects of some images of a split, uint16 (n, H, W): 0 where there is none, else 1, 2, ...

        Args:
            where: a run of positions within the split.

        Raises:
            InputError: the data set tells no objects apart.
        """
        if not self.has_instances:
            raise InputError(f"{self.path}: holds no instances; dataset.instances says what an object is")
        first = self.spans[split][0]
        start, stop, _ = where.indices(self.count(split))
        with open_hdf5(self.path, "dataset") as file:
            return file["instances"][first + start : first + stop]

    def block_count(self, split: str) -> int:
        """Return how many blocks `blocks` yields."""
        return -(-self.count(split) // self.block)

    def blocks(self, split: str) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield (position within the split, images, labels) for at most `block` images at a time."""
        first, end = self.spans[split]
        with open_hdf5(self.path, "dataset") as file:
            for start in range(first, end, self.block):
                stop = min(start + self.block, end)
                labels = self._known(file["labels"][start:stop])
                yield slice(start - first, stop - first), file["images"][start:stop], labels

    def _known(self, labels: np.ndarray) -> np.ndarray:
        """Return labels, all of which are classes or ignored."""
        if labels.size and (labels + np.uint8(1)).max() > len(self.classes):  # 255, ignored, becomes 0
            unknown = [value for value in np.unique(labels).tolist() if len(self.classes) <= value < 255]
            raise InputError(f"{self.path}: labels {unknown[:10]} are none of its {len(self.classes)} classes")
        return labels


def _spans(path: str | Path, file: h5py.File) -> dict[str, tuple[int, int]]:
    spans, end = {}, 0
    for split in SPLITS:
        indices = file[f"split/{split}"][:]
        first, end = end, end + len(indices)
        if not len(indices) or not np.array_equal(indices, np.arange(first, end)):
            raise InputError(f"{path}: split/{split} is not one run of images behind the splits before it")
        spans[split] = (first, end)
    if {end} != {len(file[name]) for name in ("images", "names")}:
        raise InputError(f"{path}: its splits hold {end} images, its arrays {len(file['images'])}")
    return spans


def describe(path: str | Path) -> dict[str, Any]:
    """Return what a report says of a data set: counts, shares of the classes, digest, images left out."""
    with open_hdf5(path, "dataset") as file, well_formed(path):
        attributes = dict(file.attrs.items())
        shares = dict(zip(attributes["classes"], attributes["class_share"], strict=True))
        return {
            "images": {split: len(file[f"split/{split}"]) for split in SPLITS},
            "image_shape": [int(size) for size in file["images"].shape[1:]],
            "class_share": {str(name): float(share) for name, share in shares.items()},
            "source_digest": str(attributes["source_digest"]),
            "left_out": [reason.decode() for reason in file["left_out"][:]],
        }
