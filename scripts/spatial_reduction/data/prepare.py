"""Turn a folder of images and labels into one `dataset.h5`."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from spatial_reduction.data.decode import Decoded, Pair, decode_pair
from spatial_reduction.data.instances import Objects
from spatial_reduction.data.labels import IGNORED
from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.data.splits import SPLITS, split_pairs
from spatial_reduction.runtime.allocation import keep_freed_memory
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import CHUNK_BYTES, create_hdf5
from spatial_reduction.runtime.log import progress, say

DECODED_AHEAD = 32  # pairs in flight per thread: bounds memory, keeps every thread busy
WRITTEN_BYTES = 1 << 20  # at a time; of a chunk alone, two thirds of the time would be h5py's own


def prepare_dataset(root: str | Path, output: str | Path, dataset: Mapping[str, Any], threads: int) -> None:
    """Decode, resize, split and store every pair below `root`.

    Args:
        root: folder of the layout that `dataset["source"]` names.
        output: the HDF5 file to write; the arrays are the same bytes at every preparation.
        dataset: the section `dataset` of the configuration.
        threads: pairs decoded at the same time (decoding releases the interpreter lock).

    Raises:
        InputError: the folder, a pair, a split or a class's share of the pixels is not as configured. With
            `on_error: stop` all offending pairs are listed; with `skip` they are left out and stored by name.
    """
    keep_freed_memory()
    pairs = list_pairs(dataset["source"], root, dataset["limit"])
    parts = split_pairs(pairs, dataset["split"])
    ordered = [(split, pair) for split in SPLITS for pair in parts[split]]
    decode = partial(
        decode_pair,
        image_size=dataset["image_size"],
        colour=dataset["colour"],
        label_map=label_map(dataset),
        intensity_range=dataset["intensity_range"],
        objects=Objects.of(dataset),
    )
    with create_hdf5(output, "dataset") as file:
        store = _Store(file, len(ordered), dataset)
        decoded = _decode_all(ordered, decode, threads)
        for (split, pair), (result, sums) in zip(ordered, decoded, strict=True):
            store.add(split, pair, result, sums)
        store.finish(on_error=dataset["on_error"])
    say(f"{output}: " + ", ".join(f"{len(store.members[s])} {s}" for s in SPLITS) + f", {len(store.left_out)} left out")


def label_map(dataset: Mapping[str, Any]) -> dict[int, int]:
    """Return {raw label value: class index}, ignored values mapped to 255."""
    mapping = {label: index for index, entry in enumerate(dataset["classes"]) for label in entry["labels"]}
    return mapping | dict.fromkeys(dataset["ignored_labels"], IGNORED)


def _decode_all(
    ordered: Sequence[tuple[str, Pair]], decode: Callable[[Pair], Decoded], threads: int
) -> Iterator[tuple[Decoded | InputError, "_Sums | None"]]:
    """Yield, in order, each pair's decoded arrays or the InputError that it met, and the sums of a training pair."""

    def attempt(entry: tuple[str, Pair]) -> tuple[Decoded | InputError, _Sums | None]:
        split, pair = entry
        try:
            decoded = decode(pair)
        except InputError as error:
            return error, None
        return decoded, _sum_up(decoded) if split == "train" else None

    waiting: deque[Future[tuple[Decoded | InputError, _Sums | None]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for entry in progress(ordered, len(ordered), "preparing", "images"):
            waiting.append(pool.submit(attempt, entry))
            if len(waiting) == threads * DECODED_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Sums(NamedTuple):
    """What the description of the training split adds up over its images: whole numbers, in any order the same."""

    labels: np.ndarray  # int64 (256,), pixels of each label
    channels: np.ndarray  # int64 (C, 256), pixels of each value of each channel


def _sum_up(decoded: Decoded) -> _Sums:
    """Count one image's values where it was decoded: the one thread that writes would hold up the others."""
    planes = decoded.image.reshape(-1, decoded.image.shape[-1]).T
    return _Sums(
        np.bincount(decoded.labels.reshape(-1), minlength=256),
        np.stack([np.bincount(plane, minlength=256) for plane in planes]),
    )


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


class _Store:
    """The growing data set file."""

    def __init__(self, file: h5py.File, capacity: int, dataset: Mapping[str, Any]) -> None:
        side, channels = dataset["image_size"], 3 if dataset["colour"] == "rgb" else 1
        chunk = max(1, min(capacity, CHUNK_BYTES // (side * side * channels)))
        self.file = file
        self.classes = dataset["classes"]
        self.images = _Rows(
            file.create_dataset(
                "images",
                (capacity, side, side, channels),
                "uint8",
                chunks=(chunk, side, side, channels),
                maxshape=(None, side, side, channels),
                fletcher32=True,
            )
        )
        flat = {
            "shape": (capacity, side, side),
            "chunks": (chunk, side, side),
            "maxshape": (None, side, side),
            "compression": "gzip",
            "compression_opts": 1,
            "fletcher32": True,
        }
        self.labels = _Rows(file.create_dataset("labels", dtype="uint8", **flat))
        has_instances = dataset["instances"] is not None
        self.instances = _Rows(file.create_dataset("instances", dtype="uint16", **flat)) if has_instances else None
        file.attrs["label_mapping"] = [f"{entry['name']}: {entry['labels']}" for entry in dataset["classes"]]
        self.members: dict[str, list[int]] = {split: [] for split in SPLITS}
        self.names: list[str] = []
        self.groups: list[str] = []
        self.digests: list[str] = []
        self.left_out: list[str] = []
        self.digest = hashlib.sha256()  # of all that a training can depend on: pixels, labels, objects, order, split
        self.pixels = np.zeros(256, dtype=np.int64)  # of the training split, by label
        self.values = np.zeros((channels, 256), dtype=np.int64)

    def add(self, split: str, pair: Pair, result: Decoded | InputError, sums: _Sums | None) -> None:
        if isinstance(result, InputError):
            self.left_out.append(str(result))
            return
        image, labels, digest, instances = result
        self.images.add(image)
        self.labels.add(labels)
        self.members[split].append(len(self.names))
        self.names.append(pair.name)
        self.groups.append(pair.group)
        self.digests.append(digest)
        self.digest.update(split.encode() + image.tobytes() + labels.tobytes())
        if self.instances is not None:
            self.instances.add(instances)
            self.digest.update(instances.tobytes())
        if sums:
            self.pixels += sums.labels
            self.values += sums.channels

    def finish(self, on_error: str) -> None:
        if self.left_out and (on_error == "stop" or not all(self.members.values())):
            raise InputError(f"{len(self.left_out)} pairs cannot be used:\n  " + "\n  ".join(self.left_out))
        for rows in filter(None, (self.images, self.labels, self.instances)):
            rows.finish()
        for key, values in {
            "names": self.names,
            "group": self.groups,
            "left_out": self.left_out,
            "sha256": self.digests,
        }.items():
            self.file.create_dataset(key, data=np.array(values, dtype=object), dtype=h5py.string_dtype())
        for split, indices in self.members.items():
            self.file[f"split/{split}"] = np.array(indices, dtype=np.int64)
        self._describe()

    def _describe(self) -> None:
        shares = 100 * self.pixels[: len(self.classes)] / max(1, self.pixels.sum())
        for entry, share in zip(self.classes, shares, strict=True):
            if "share" not in entry and not share:
                raise InputError(
                    f"dataset.classes: no training pixel is {entry['name']}: is the label mapping right? "
                    "A share of [0, 100] allows it"
                )
            low, high = entry.get("share", (0, 100))
            if not low <= share <= high:
                raise InputError(
                    f"dataset.classes: {entry['name']} covers {share:.1f} % of the training pixels, "
                    f"expected {low} to {high} %: is the label mapping right?"
                )
        values = np.arange(256) / 255
        shown = self.values / self.values.sum(axis=1, keepdims=True)
        mean = shown @ values
        self.file.attrs["classes"] = [entry["name"] for entry in self.classes]
        self.file.attrs["class_share"] = shares
        self.file.attrs["channel_mean"] = mean
        self.file.attrs["channel_std"] = np.sqrt(np.maximum(shown @ values**2 - mean**2, 0))
        self.file.attrs["digest"] = self.digest.hexdigest()
        self.file.attrs["source_digest"] = hashlib.sha256("".join(self.digests).encode()).hexdigest()
