"""The data set file: images and labels of all splits, read in blocks."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.data.splits import SPLITS, redraw
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
        rows: where in the file the images of each split are, int64 (n,).
        has_instances: whether objects are told apart.
    """

    path: Path
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    rows: dict[str, np.ndarray] = field(compare=False)
    has_instances: bool = False

    @classmethod
    def open(cls, path: str | Path, seed: int | None = None) -> "Dataset":
        """Read a data set's description.

        Args:
            seed: of the chain that asks. If the file was prepared so (`dataset.split.per_seed`), each seed has training
                and validation images of its own, as many and with the same test images; otherwise, and for None, those
                that the file was prepared with.

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
                rows=_rows(path, file),
                has_instances=instances is not None,
            )
            if seed is not None and "image_mean" in file:
                dataset = _of_seed(dataset, file, seed)
        numbers = [*dataset.mean, *dataset.std]
        if len(numbers) != 2 * dataset.image_shape[2] or not np.isfinite(numbers).all():
            raise InputError(
                f"{path}: channel_mean and channel_std are not one number per channel; delete it and run again"
            )
        return dataset

    def count(self, split: str) -> int:
        """Return the number of images in a split."""
        return len(self.rows[split])

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
            return [name.decode() for name in read_rows(file["names"], self.rows[split])]

    def pick(self, split: str, positions: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return some images uint8 (n, H, W, C) and labels uint8 (n, H, W) of a split, in any order."""
        with self.reader(split) as read:
            return read(np.asarray(positions))

    @contextmanager
    def reader(self, split: str) -> Iterator[Reader]:
        """Yield a function: positions int64 (n,) in the split -> what `pick` returns; the file stays open for it."""
        with open_hdf5(self.path, "dataset") as file:
            images, labels = file["images"], file["labels"]

            def read(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                rows = self.rows[split][positions]
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
        with open_hdf5(self.path, "dataset") as file:
            return read_rows(file["instances"], self.rows[split][where])

    def block_count(self, split: str) -> int:
        """Return how many blocks `blocks` yields."""
        return -(-self.count(split) // self.block)

    def blocks(self, split: str) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield (position within the split, images, labels) for at most `block` images at a time."""
        with open_hdf5(self.path, "dataset") as file:
            for start in range(0, self.count(split), self.block):
                where = slice(start, min(start + self.block, self.count(split)))
                rows = self.rows[split][where]
                yield where, read_rows(file["images"], rows), self._known(read_rows(file["labels"], rows))

    def _known(self, labels: np.ndarray) -> np.ndarray:
        """Return labels, all of which are classes or ignored."""
        if labels.size and (labels + np.uint8(1)).max() > len(self.classes):  # 255, ignored, becomes 0
            unknown = [value for value in np.unique(labels).tolist() if len(self.classes) <= value < IGNORED]
            raise InputError(f"{self.path}: labels {unknown[:10]} are none of its {len(self.classes)} classes")
        return labels


def _rows(path: str | Path, file: h5py.File) -> dict[str, np.ndarray]:
    found, end = {}, 0
    for split in SPLITS:
        indices = file[f"split/{split}"][:]
        first, end = end, end + len(indices)
        if not len(indices) or not np.array_equal(indices, np.arange(first, end)):
            raise InputError(f"{path}: split/{split} is not one run of images behind the splits before it")
        found[split] = indices
    if {end} != {len(file[name]) for name in ("images", "names")}:
        raise InputError(f"{path}: its splits hold {end} images, its arrays {len(file['images'])}")
    return found


def _of_seed(dataset: Dataset, file: h5py.File, seed: int) -> Dataset:
    """Return the data set with the training and validation images of a seed."""
    counts = dataset.count("train"), dataset.count("validation")
    names, groups = (
        [text.decode() for text in read_rows(file[key], np.arange(sum(counts)))] for key in ("names", "group")
    )
    twins: dict[int, list[str]] = {}
    for name, group in zip(names, file["twin"][: sum(counts)].tolist(), strict=True):
        if group >= 0:
            twins.setdefault(group, []).append(name)
    seeds = int(file.attrs["split_seed"]), seed
    train, validation = redraw(names, groups, counts[1], seeds, list(twins.values()))
    mean = file["image_mean"][:][train].mean(axis=0)  # images are of one size
    digest = hashlib.sha256(f"{dataset.digest} {train.tolist()}".encode()).hexdigest()
    rows = dataset.rows | {"train": train, "validation": validation}
    return replace(dataset, mean=tuple(mean.tolist()), digest=digest, rows=rows)


def describe(path: str | Path) -> dict[str, Any]:
    """Return what a report says of a data set: counts, shares of the classes, digest, twins, images left out."""
    with open_hdf5(path, "dataset") as file, well_formed(path):
        attributes = dict(file.attrs.items())
        shares = dict(zip(attributes["classes"], attributes["class_share"], strict=True))
        return {
            "images": {split: len(file[f"split/{split}"]) for split in SPLITS},
            "image_shape": [int(size) for size in file["images"].shape[1:]],
            "class_share": {str(name): float(share) for name, share in shares.items()},
            "source_digest": str(attributes["source_digest"]),
            "parted_twins": int(attributes["parted_twins"]),
            "parted_twin_names": [str(names) for names in attributes["parted_twin_names"]],
            "absent_classes": [str(name) for name in attributes["absent_classes"]],
            "left_out": [reason.decode() for reason in file["left_out"][:]],
        }
