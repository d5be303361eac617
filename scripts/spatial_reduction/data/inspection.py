"""Inspect raw pictures and labels before a data set is made of them: what they hold, what cannot be used and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from spatial_reduction.data.decode import Decoded, Pair, decode_pair, read_labels
from spatial_reduction.data.instances import Objects
from spatial_reduction.data.labels import IGNORED
from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.data.picture_file import Picture, read_picture
from spatial_reduction.data.prepare import label_map
from spatial_reduction.data.splits import DRAWN, SPLITS, split_pairs
from spatial_reduction.data.twins import find_twins
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.log import progress

SHOWN = 24  # pairs of the contact sheet
DETAIL = 64  # side in pixels of the images that are compared with each other
THIN = 0.5  # share of a value's pixels that touch another value, above which it looks like an outline
BITS = {255: 1, 85: 2, 17: 4}  # of a sample that Pillow decoded, by what it was multiplied with


class Value(NamedTuple):
    """How often a raw label value occurs.

    Attributes:
        pixels: in all label pictures; `rim` on the outermost rows and columns, `edge` beside another value.
        pictures: that hold it.
    """

    pixels: int = 0
    rim: int = 0
    edge: int = 0
    pictures: int = 0

    def plus(self, other: "Value") -> "Value":
        """Return the sum of two counts of the same value."""
        return Value(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass
class Looked:
    """What one pair is.

    Attributes:
        error: why it cannot be used; "" if it can.
        size: "W x H" of the image as shown, "" if it cannot be read.
        kinds: depth and colour of the image and of the labels, such as "8 bit rgb".
        values: of the label picture by raw value.
        classes: pixels of each class, then of ignored ones, at the size of the data set.
        objects: how many a label picture of objects holds.
        image, labels: uint8 (S, S, C) and (S, S), of the pairs of the contact sheet; labels of no class follow those of
            the last class.
        detail, digest: the image, small, and its file's SHA-256, to be compared with others.
    """

    name: str
    split: str = ""
    error: str = ""
    size: str = ""
    kinds: tuple[str, str] = ("", "")
    values: Mapping[int, Value] = field(default_factory=dict)
    classes: np.ndarray | None = None
    objects: int = 0
    image: np.ndarray | None = None
    labels: np.ndarray | None = None
    detail: np.ndarray | None = None
    digest: str = ""


@dataclass(frozen=True)
class Inspection:
    """All pairs of a data source.

    Attributes:
        split_error: why the pairs cannot be split as configured; "" if they can.
        twins: groups of names of identical or nearly identical images.
    """

    pairs: Sequence[Looked]
    split_error: str
    twins: Sequence[Sequence[str]]

    @property
    def usable(self) -> list[Looked]:
        """The pairs without an error."""
        return [pair for pair in self.pairs if not pair.error]

    @property
    def values(self) -> dict[int, Value]:
        """Raw label values of all pictures that could be read, the most frequent first."""
        total: dict[int, Value] = {}
        for pair in self.pairs:
            for value, found in pair.values.items():
                total[value] = total.get(value, Value()).plus(found)
        return dict(sorted(total.items(), key=lambda entry: -entry[1].pixels))

    def class_shares(self, split: str) -> np.ndarray:
        """Return the per cent of a split's labelled pixels that each class has, then of all pixels the ignored ones."""
        counted = sum((pair.classes for pair in self.usable if pair.split == split and pair.classes is not None), 0)
        counted = np.atleast_1d(counted)
        shares = 100 * counted / max(1, counted[:-1].sum())
        shares[-1] = 100 * counted[-1] / max(1, counted.sum())
        return shares


def inspect_data(root: str | Path, dataset: Mapping[str, Any], threads: int) -> Inspection:
    """Look at every pair below `root`, as `prepare_dataset` would read it.

    Raises:
        InputError: the folder is not of the layout that the section `dataset` names.
    """
    pairs = list_pairs(dataset["source"], root, dataset["limit"], dataset["truth"], dataset["layout"])
    positions = np.linspace(0, len(pairs) - 1, min(SHOWN, len(pairs))).round().astype(int)
    shown = {pairs[position].name for position in positions}
    look = partial(_look, dataset=dataset, shown=shown)
    with ThreadPoolExecutor(threads) as pool:
        looked = list(progress(pool.map(look, pairs), len(pairs), "looking", "images"))
    usable = [pair for pair in looked if not pair.error]
    is_sequence = dataset["source"] in ("isbi2012", "cell_tracking")
    digests = [pair.digest for pair in usable]
    groups = find_twins(digests, lambda at: usable[at].detail, is_near=not is_sequence) if usable else []
    twins = [[usable[position].name for position in group] for group in groups]
    try:
        split_of = _split(pairs, dataset["split"], twins)
    except InputError as error:
        return Inspection(looked, str(error), twins)
    for pair in looked:
        pair.split = split_of.get(pair.name, "")
    return Inspection(looked, "", twins)


def _split(pairs: Sequence[Pair], split: Mapping[str, Any], twins: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return {name: split} as `prepare_dataset` does: drawn again, with twins together, if the first draw parts any."""
    for together in ((), twins):
        parts = split_pairs(pairs, split, together)
        split_of = {pair.name: name for name in SPLITS for pair in parts[name]}
        drawn = DRAWN.get(split["method"], ())
        if all(len({split_of[name] for name in group}.intersection(drawn)) <= 1 for group in twins):
            break
    return split_of


def _look(pair: Pair, dataset: Mapping[str, Any], shown: set[str]) -> Looked:
    looked = Looked(pair.name)
    holds_objects = dataset["source"] in ("instances", "cell_tracking")
    try:
        picture, labelled = read_picture(pair.image, pair.page), read_picture(pair.labels, pair.page)
        height, width = picture.size
        looked.size, looked.kinds = f"{width} x {height}", (kind_of(picture), kind_of(labelled))
        del picture
        raw = read_labels(labelled)
        if holds_objects:
            looked.objects = len(np.unique(raw[raw != 0]))
        else:
            looked.values = count_values(raw)
        decoded = _decode(pair, dataset, label_map(dataset))
    except InputError as error:
        looked.error = str(error)
        if pair.name in shown:
            _show_unmapped(looked, pair, dataset)
        return looked
    looked.digest = decoded.image_digest
    counted = np.bincount(decoded.labels.reshape(-1), minlength=256)
    looked.classes = np.append(counted[: len(dataset["classes"])], counted[IGNORED])
    looked.detail = _small(decoded.image)
    if pair.name in shown:
        looked.image, looked.labels = decoded.image, decoded.labels
    return looked


def _decode(pair: Pair, dataset: Mapping[str, Any], mapping: Mapping[int, int]) -> Decoded:
    size, colour, deep = dataset["image_size"], dataset["colour"], dataset["intensity_range"]
    return decode_pair(pair, size, colour, mapping, deep, Objects.of(dataset))


def _show_unmapped(looked: Looked, pair: Pair, dataset: Mapping[str, Any]) -> None:
    """Keep the picture of a pair whose only error is its label values; those of no class are one more class."""
    unmapped = dict.fromkeys(looked.values.keys() - label_map(dataset).keys(), len(dataset["classes"]))
    with suppress(InputError):
        decoded = _decode(pair, dataset, label_map(dataset) | unmapped)
        looked.image, looked.labels = decoded.image, decoded.labels


def kind_of(picture: Picture) -> str:
    """Return depth and colour of a picture's samples: "8 bit rgb", "16 bit grey", "32 bit float grey"."""
    dtype = picture.samples(slice(0, 1)).dtype
    bits = BITS[picture.step] if picture.step > 1 else 16 if picture.is_cut else 8 * dtype.itemsize
    sort = {"f": " float", "i": " signed"}.get(dtype.kind, "")
    return f"{bits} bit{sort} {picture.colour}"


def count_values(raw: np.ndarray) -> dict[int, Value]:
    """Count the values of a label picture, integer (H, W): all pixels, those of its rim, those beside another value."""
    is_rim = np.zeros(raw.shape, dtype=bool)
    is_rim[[0, -1]], is_rim[:, [0, -1]] = True, True
    is_edge = np.zeros(raw.shape, dtype=bool)
    below, beside = raw[1:] != raw[:-1], raw[:, 1:] != raw[:, :-1]
    is_edge[1:] |= below
    is_edge[:-1] |= below
    is_edge[:, 1:] |= beside
    is_edge[:, :-1] |= beside
    values, inverse, counts = np.unique(raw, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(raw.shape)
    rims, edges = (np.bincount(inverse[some], minlength=len(values)) for some in (is_rim, is_edge))
    return {
        int(value): Value(int(count), int(rim), int(edge), 1)
        for value, count, rim, edge in zip(values, counts, rims, edges, strict=True)
    }


def _small(image: np.ndarray) -> np.ndarray:
    channels = [
        np.asarray(Image.fromarray(channel).resize((DETAIL, DETAIL), Image.Resampling.BILINEAR))
        for channel in np.moveaxis(image, 2, 0)
    ]
    return np.stack(channels, axis=2)


def guess_roles(values: Mapping[int, Value]) -> dict[int, str]:
    """Guess what each raw label value stands for: background, object, outline or void.

    The background is what the rims of the pictures hold most. 255 beside two or more lower values is void, as in
    PASCAL VOC. Of three and more values, one most of whose pixels touch another is an outline around objects.
    """
    if not values:
        return {}
    background = max(values, key=lambda value: values[value].rim)
    roles = {}
    for value, found in values.items():
        if value == background:
            roles[value] = "background"
        elif value == 255 and len(values) > 2:
            roles[value] = "void"
        else:
            is_thin = len(values) > 2 and found.edge > THIN * found.pixels
            roles[value] = "outline" if is_thin else "object"
    return roles


def size_counts(pairs: Sequence[Looked]) -> list[tuple[str, int]]:
    """Return (size, number of images), the most frequent first."""
    return Counter(pair.size for pair in pairs if pair.size).most_common()


def kind_counts(pairs: Sequence[Looked], which: int) -> list[tuple[str, int]]:
    """Return (kind, number of pictures) of the images (0) or the labels (1)."""
    return Counter(pair.kinds[which] for pair in pairs if pair.kinds[which]).most_common()
