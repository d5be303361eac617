"""The data set file: images and labels of all splits, written image by image, read in blocks."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.data.splits import SPLITS, redraw
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import CHUNK_BYTES, open_hdf5, read_rows, well_formed

Reader = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # positions -> images, labels

WRITTEN_BYTES = 1 << 20  # at a time; of a chunk alone, two thirds of the time would be h5py's own
BLOCK_PIXELS = 1 << 19  # at width 32 and float32, one feature map of a block takes 64 MiB


class _Rows:
    """A growing HDF5 array, written some chunks at a time: h5py keeps all threads waiting."""

    def __init__(self, stored: h5py.Dataset) -> None:
        self.stored = stored
        self.waiting: list[np.ndarray] = []
        self.count = 0
        self.together = stored.chunks[0] * max(1, WRITTEN_BYTES // CHUNK_BYTES)

    def add(self, row: np.ndarray) -> None:
        self.waiting.append(row)
        if len(self.waiting) == self.together:
            self.write()

    def write(self) -> None:
        if self.waiting:
            end = self.count + len(self.waiting)
            self.stored[self.count : end] = np.stack(self.waiting)
            self.count, self.waiting = end, []

    def finish(self) -> None:
        self.write()
        self.stored.resize(self.count, axis=0)


class DatasetWriter:
    """A data set file that grows image by image.

    Arrays, of N images: `images` uint8 (N, H, W, C), `labels` uint8 (N, H, W), `instances` uint16 (N, H, W) if objects
    are numbered; text: `names`, `group` and `sha256` (N,), `left_out`; `split/SPLIT` int64 (n,), the rows of each
    split; with splits per seed `image_mean` float64 (n, C) of the images that may train, and `twin` int64 (N,), the
    number of the group of nearly identical images, -1 for none.

    Args:
        file: see `create_hdf5`.
        capacity: images at most.
        shape: (H, W, C).
    """

    def __init__(self, file: h5py.File, capacity: int, shape: tuple[int, int, int], has_instances: bool) -> None:
        self.file, self.has_instances = file, has_instances
        chunk = max(1, min(capacity, CHUNK_BYTES // int(np.prod(shape))))

        def grown(name: str, of_image: tuple[int, ...], kind: str, **how: Any) -> _Rows:
            size = {"shape": (capacity, *of_image), "chunks": (chunk, *of_image), "maxshape": (None, *of_image)}
            return _Rows(file.create_dataset(name, dtype=kind, **size, **how, fletcher32=True))

        packed = {"compression": "gzip", "compression_opts": 1}
        self.images = grown("images", shape, "uint8")
        self.labels = grown("labels", shape[:2], "uint8", **packed)
        self.instances = grown("instances", shape[:2], "uint16", **packed) if has_instances else None

    def add(self, image: np.ndarray, labels: np.ndarray, instances: np.ndarray | None) -> None:
        """Add an image uint8 (H, W, C), its labels uint8 (H, W) and its objects uint16 (H, W)."""
        self.images.add(image)
        self.labels.add(labels)
        if self.instances is not None:
            self.instances.add(instances)

    def finish(self, members: Mapping[str, Sequence[int]], **texts: Sequence[str]) -> None:
        """Write what is still buffered, the rows of each split, and text by name."""
        for rows in filter(None, (self.images, self.labels, self.instances)):
            rows.finish()
        for name, values in texts.items():
            self.file.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype())
        for split, indices in members.items():
            self.file[f"split/{split}"] = np.array(indices, dtype=np.int64)

    def image(self, position: int) -> np.ndarray:
        """Return an image of a finished file, uint8 (H, W, C)."""
        return self.images.stored[position]

    def add_array(self, name: str, values: np.ndarray) -> None:
        """Write an array."""
        self.file[name] = values

    def describe(self, **attributes: Any) -> None:
        """Write attributes: those that `Dataset.open` and `describe` read, and `label_mapping`, `twins`."""
        for name, value in attributes.items():
            self.file.attrs[name] = value


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
        has_instances: whether each object has a number of its own.
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
            InputError: the data set has no objects.
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
            raise InputError(f"{self.path}: labels {unknown[:10]} are not among its {len(self.classes)} classes")
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
