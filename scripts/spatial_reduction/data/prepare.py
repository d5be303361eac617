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

from spatial_reduction.data.dataset_file import DatasetWriter
from spatial_reduction.data.decode import Decoded, decode_pair
from spatial_reduction.data.instances import Objects
from spatial_reduction.data.labels import IGNORED
from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.data.pair import Pair
from spatial_reduction.data.picture_list import describe_files, list_files
from spatial_reduction.data.splits import DRAWN, SPLITS, split_pairs
from spatial_reduction.data.twins import find_twins
from spatial_reduction.runtime.allocation import keep_freed_memory
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5, written_whole
from spatial_reduction.runtime.log import progress, say
from spatial_reduction.runtime.plain_text import printable

SEQUENCES = ("isbi2012", "cell_tracking")  # whose images are alike by nature
TOLD = 10  # of many names
LEAST_SPREAD = 1.0  # standard deviation of the training images, in levels of 255: less is one grey
CORE = (0.001, 0.999)  # of the pixels; the others may be hot or dead
FEWEST_LEVELS = 32  # of 256 that the core of images deeper than 8 bits must span: 12 bits in 16 span 16
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
    keep_freed_memory()
    pairs = list_pairs(dataset["source"], root, dataset["limit"], dataset["truth"], dataset["layout"])
    decode = partial(
        decode_pair,
        image_size=dataset["image_size"],
        colour=dataset["colour"],
        label_map=label_map(dataset),
        intensity_range=dataset["intensity_range"],
        objects=Objects.of(dataset),
    )
    try:
        _prepare(pairs, (), output, dataset, decode, threads)
    except _TwinsPartedError as parted:
        say(f"{len(parted.twins)} groups of nearly identical images; to keep them together, the split is drawn again")
        _prepare(pairs, parted.twins, output, dataset, decode, threads)


class _TwinsPartedError(Exception):
    """A drawn split parts twins; how many there are is known only when all images are decoded."""

    def __init__(self, twins: list[list[str]]) -> None:
        self.twins = twins


def _prepare(
    pairs: Sequence[Pair],
    twins: Sequence[Sequence[str]],
    output: str | Path,
    dataset: Mapping[str, Any],
    decode: Callable[[Pair], Decoded],
    threads: int,
) -> None:
    parts = split_pairs(pairs, dataset["split"], twins)
    ordered = [(split, pair) for split in SPLITS for pair in parts[split]]
    with create_hdf5(output, "dataset") as file:
        store = _Store(file, len(ordered), dataset)
        decoded = _decode_all(ordered, decode, threads)
        for (split, pair), (result, sums) in zip(ordered, decoded, strict=True):
            store.add(split, pair, result, sums)
        store.finish(on_error=dataset["on_error"])
    say(f"{output}: " + ", ".join(f"{len(store.members[s])} {s}" for s in SPLITS) + f", {len(store.left_out)} left out")


def record_pictures(
    root: str | Path, output: str | Path, dataset: Mapping[str, Any], threads: int, digest: str
) -> None:
    """Write the list of the files that `prepare_dataset` reads, with their digests: by it a plan sees what changed.

    Args:
        digest: of the list as it was planned.

    Raises:
        InputError: the folder is not of the layout, or a file is missing.
    """
    said, files = list_files(root, dataset)
    with written_whole(output) as partial:
        partial.write_text(describe_files(digest, said, files, threads), encoding="utf-8")


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


class _Store:
    """What is known of the images while the file grows, and what is refused of them together."""

    def __init__(self, file: h5py.File, capacity: int, dataset: Mapping[str, Any]) -> None:
        side, channels = dataset["image_size"], 3 if dataset["colour"] == "rgb" else 1
        self.file = DatasetWriter(file, capacity, (side, side, channels), dataset["instances"] is not None)
        self.file.describe(label_mapping=[f"{entry['name']}: {entry['labels']}" for entry in dataset["classes"]])
        self.classes = dataset["classes"]
        self.place = dataset["root"] or dataset["source"]
        self.has_range = dataset["intensity_range"] is not None
        self.split = dataset["split"]
        self.members: dict[str, list[int]] = {split: [] for split in SPLITS}
        self.names: list[str] = []
        self.groups: list[str] = []
        self.digests: list[str] = []
        self.image_digests: list[str] = []
        self.left_out: list[str] = []
        self.is_sequence = dataset["source"] in SEQUENCES
        self.digest = hashlib.sha256()  # of all that a training can depend on: pixels, labels, objects, order, split
        self.pixels = np.zeros(256, dtype=np.int64)  # of the training split, by label
        self.values = np.zeros((channels, 256), dtype=np.int64)
        self.held = {split: np.zeros(256, dtype=bool) for split in SPLITS}  # labels that a split's pictures have
        self.deep_ranges: list[tuple[float, float]] = []  # of training images deeper than 8 bits
        self.colours: dict[int, tuple[tuple[int, ...], Path]] = {}  # of palettes: {label: (its colour, first file)}
        self.objects: list[tuple[int, int]] = []  # of label pictures of objects: (how many, parts of the only one)
        self.means: list[np.ndarray] = []  # of the channels of each image that may train, for splits per seed

    def add(self, split: str, pair: Pair, result: Decoded | InputError, sums: _Sums | None) -> None:
        if isinstance(result, InputError):
            self.left_out.append(printable(str(result)))
            return
        image, labels, digest, image_digest, instances, deep_range, palette, parts = result
        self._require_one_palette(palette, pair.labels)
        self.file.add(image, labels, instances)
        self.members[split].append(len(self.names))
        self.names.append(pair.name)
        self.groups.append(pair.group)
        self.digests.append(digest)
        self.image_digests.append(image_digest)
        self.digest.update(split.encode() + image.tobytes() + labels.tobytes())
        if self.file.has_instances:
            self.digest.update(instances.tobytes())
            self.objects.append((int(instances.max()), parts))
        self.held[split][np.unique(labels)] = True
        if sums:
            self.pixels += sums.labels
            self.values += sums.channels
            self.deep_ranges += [deep_range] if deep_range else []
        if self.split["per_seed"] and split != "test":
            self.means.append(image.reshape(-1, image.shape[-1]).mean(axis=0) / 255)

    def _require_one_palette(self, palette: Mapping[int, tuple[int, ...]], path: Path) -> None:
        """Refuse a label value whose colour differs between label pictures: it hardly means the same in both."""
        for value, colour in palette.items():
            known, first = self.colours.setdefault(value, (colour, path))
            if known != colour:
                raise InputError(
                    f"{path}: its palette gives the label {value} the colour {colour}, that of {first} {known}; save "
                    "all label pictures with one palette, or as grey"
                )

    def finish(self, on_error: str) -> None:
        if self.left_out and (on_error == "stop" or not all(self.members.values())):
            raise InputError(f"{len(self.left_out)} pairs cannot be used:\n  " + "\n  ".join(self.left_out))
        self.file.finish(self.members, names=self.names, group=self.groups, left_out=self.left_out, sha256=self.digests)
        if self.split["per_seed"]:
            self.file.add_array("image_mean", np.stack(self.means))
            self.file.describe(split_seed=self.split["seed"])
        self._describe()
        self._describe_twins()
        self._describe_absent_classes()

    def _describe_twins(self) -> None:
        """Find nearly identical images; start again if a random draw parted them, else note those that are parted."""
        groups = find_twins(self.image_digests, self.file.image, is_near=not self.is_sequence)
        split_of = {index: split for split, indices in self.members.items() for index in indices}
        drawn = DRAWN.get(self.split["method"], ())
        if any(len({split_of[index] for index in group}.intersection(drawn)) > 1 for group in groups):
            raise _TwinsPartedError([[self.names[index] for index in group] for group in groups])
        if self.split["per_seed"]:
            twin = np.full(len(self.names), -1)
            for number, group in enumerate(groups):
                twin[group] = number
            self.file.add_array("twin", twin)
        parted = [group for group in groups if len({split_of[index] for index in group}) > 1]
        lines = [", ".join(f"{self.names[index]} ({split_of[index]})" for index in group[:TOLD]) for group in parted]
        self.file.describe(twins=sum(map(len, groups)), parted_twins=len(parted), parted_twin_names=lines[:TOLD])
        for line in lines[:TOLD]:
            say(f"nearly identical images in several splits: {line}")

    def _describe_absent_classes(self) -> None:
        """Note the classes that no picture of a split has: means over classes leave them out there."""
        names = [entry["name"] for entry in self.classes]
        absent = {split: [name for i, name in enumerate(names) if not self.held[split][i]] for split in SPLITS}
        self.file.describe(absent_classes=[f"{name} ({split})" for split in SPLITS for name in absent[split]])
        for split, missing in absent.items():
            if missing:
                say(f"no {split} image has the class {', '.join(missing)}: measures on that split leave it out")

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
        self._require_objects()
        self._require_contrast()
        values = np.arange(256) / 255
        shown = self.values / self.values.sum(axis=1, keepdims=True)
        mean = shown @ values
        self.file.describe(
            classes=[entry["name"] for entry in self.classes],
            class_share=shares,
            channel_mean=mean,
            channel_std=np.sqrt(np.maximum(shown @ values**2 - mean**2, 0)),
            digest=self.digest.hexdigest(),
            source_digest=hashlib.sha256("".join(self.digests).encode()).hexdigest(),
        )

    def _require_objects(self) -> None:
        """Refuse masks of one value where each object needs its own value: all would be one object."""
        single = [parts for count, parts in self.objects if count == 1]
        if single and max(count for count, _ in self.objects) == 1 and sum(n > 1 for n in single) > len(single) / 2:
            raise InputError(
                "dataset.instances: every label picture has one object, most in several parts: these are masks. "
                "Give each object a value of its own, or read them with the source folder and instances.components_of"
            )

    def _require_contrast(self) -> None:
        """Refuse images that are nearly uniform, most often because of a wrong intensity range."""
        levels = np.arange(256)
        counts = self.values.sum(axis=1, keepdims=True)
        mean = (self.values * levels).sum(axis=1, keepdims=True) / counts
        spread = np.sqrt((self.values * (levels - mean) ** 2).sum(axis=1) / counts[:, 0])
        low = min((low for low, _ in self.deep_ranges), default=None)
        high = max((high for _, high in self.deep_ranges), default=None)
        found = "" if low is None else f"; the samples run from {low:g} to {high:g} (dataset.intensity_range)"
        if spread.max() < LEAST_SPREAD:
            raise InputError(
                f"{self.place}: the training images are all but one grey (standard deviation {spread.max():.2f} of 255 "
                f"levels){found}"
            )
        shares = self.values.sum(axis=0).cumsum() / self.values.sum()
        darkest, brightest = (int(np.searchsorted(shares, share)) for share in CORE)
        if low is None or brightest - darkest >= FEWEST_LEVELS:
            return
        line = (
            f"of 256 grey levels {100 * (CORE[1] - CORE[0]):.1f} % of the training pixels use "
            f"{brightest - darkest + 1}{found}"
        )
        if not self.has_range:
            raise InputError(f"{self.place}: {line}")
        say(f"{self.place}: {line}")
