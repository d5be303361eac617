"""Turn a folder of images and labels into one `dataset.h5`."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spatial_reduction.decoding import IGNORED, Decoded, Pair, decode_pair
from spatial_reduction.errors import InputError
from spatial_reduction.instances import Objects
from spatial_reduction.joblog import progress, say
from spatial_reduction.sources import list_pairs
from spatial_reduction.splits import SPLITS, split_pairs
from spatial_reduction.storage import CHUNK_BYTES, create_hdf5

DECODED_AHEAD = 32  # pairs in flight per thread: bounds memory, keeps every thread busy


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
        decoded = _decode_all([pair for _, pair in ordered], decode, threads)
        for (split, pair), result in zip(ordered, decoded, strict=True):
            store.add(split, pair, result)
        store.finish(on_error=dataset["on_error"])
    say(f"{output}: " + ", ".join(f"{len(store.members[s])} {s}" for s in SPLITS) + f", {len(store.left_out)} left out")


def label_map(dataset: Mapping[str, Any]) -> dict[int, int]:
    """Return {raw label value: class index}, ignored values mapped to 255."""
    mapping = {label: index for index, entry in enumerate(dataset["classes"]) for label in entry["labels"]}
    return mapping | dict.fromkeys(dataset["ignored_labels"], IGNORED)


def _decode_all(pairs: Sequence[Pair], decode: Any, threads: int) -> Iterator[Decoded | InputError]:
    """Yield, in order, each pair's decoded arrays or the InputError that it met."""

    def attempt(pair: Pair) -> Decoded | InputError:
        try:
            return decode(pair)
        except InputError as error:
            return error

    block = threads * DECODED_AHEAD
    with ThreadPoolExecutor(threads) as pool:
        blocks = (pairs[start : start + block] for start in range(0, len(pairs), block))
        results = (result for some in blocks for result in pool.map(attempt, some))
        yield from progress(results, len(pairs), "preparing", "images")


class _Store:
    """The growing data set file."""

    def __init__(self, file: h5py.File, capacity: int, dataset: Mapping[str, Any]) -> None:
        side, channels = dataset["image_size"], 3 if dataset["colour"] == "rgb" else 1
        chunk = max(1, min(capacity, CHUNK_BYTES // (side * side * channels)))
        self.file = file
        self.classes = dataset["classes"]
        self.images = file.create_dataset(
            "images",
            (capacity, side, side, channels),
            "uint8",
            chunks=(chunk, side, side, channels),
            maxshape=(None, side, side, channels),
            fletcher32=True,
        )
        flat = {
            "shape": (capacity, side, side),
            "chunks": (chunk, side, side),
            "maxshape": (None, side, side),
            "compression": "gzip",
            "compression_opts": 1,
            "fletcher32": True,
        }
        self.labels = file.create_dataset("labels", dtype="uint8", **flat)
        self.instances = file.create_dataset("instances", dtype="uint16", **flat) if dataset["instances"] else None
        file.attrs["label_mapping"] = [f"{entry['name']}: {entry['labels']}" for entry in dataset["classes"]]
        self.members: dict[str, list[int]] = {split: [] for split in SPLITS}
        self.names: list[str] = []
        self.groups: list[str] = []
        self.digests: list[str] = []
        self.left_out: list[str] = []
        self.digest = hashlib.sha256()  # of all that a training can depend on: pixels, labels, objects, order, split
        self.pixel_counts = np.zeros(256, dtype=np.int64)
        self.channel_sums = np.zeros((2, channels))  # of values and of squared values, training split

    def add(self, split: str, pair: Pair, result: Decoded | InputError) -> None:
        if isinstance(result, InputError):
            self.left_out.append(str(result))
            return
        image, labels, digest, instances = result
        index = len(self.names)
        self.images[index], self.labels[index] = image, labels
        self.members[split].append(index)
        self.names.append(pair.name)
        self.groups.append(pair.group)
        self.digests.append(digest)
        self.digest.update(split.encode() + image.tobytes() + labels.tobytes())
        if self.instances is not None:
            self.instances[index] = instances
            self.digest.update(instances.tobytes())
        if split == "train":
            self.pixel_counts += np.bincount(labels.reshape(-1), minlength=256)
            values = image.reshape(-1, image.shape[-1]) / 255
            self.channel_sums += values.sum(axis=0), (values**2).sum(axis=0)

    def finish(self, on_error: str) -> None:
        if self.left_out and (on_error == "stop" or not all(self.members.values())):
            raise InputError(f"{len(self.left_out)} pairs cannot be used:\n  " + "\n  ".join(self.left_out))
        count = len(self.names)
        for stored in (self.images, self.labels, self.instances):
            if stored is not None:
                stored.resize(count, axis=0)
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
        shares = 100 * self.pixel_counts[: len(self.classes)] / max(1, self.pixel_counts.sum())
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
        pixels = len(self.members["train"]) * self.images.shape[1] * self.images.shape[2]
        mean = self.channel_sums[0] / pixels
        self.file.attrs["classes"] = [entry["name"] for entry in self.classes]
        self.file.attrs["class_share"] = shares
        self.file.attrs["channel_mean"] = mean
        self.file.attrs["channel_std"] = np.sqrt(np.maximum(self.channel_sums[1] / pixels - mean**2, 0))
        self.file.attrs["digest"] = self.digest.hexdigest()
        self.file.attrs["source_digest"] = hashlib.sha256("".join(self.digests).encode()).hexdigest()
