"""Turn an image and its label picture into arrays of the data set's size."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from spatial_reduction.data.instances import Objects, connected_objects, number_objects, object_classes
from spatial_reduction.data.pair import Pair
from spatial_reduction.data.picture_file import COLOURS, MOST_PIXELS, Picture, count_pixels, read_picture
from spatial_reduction.data.shown_picture import ShownPicture
from spatial_reduction.runtime.errors import InputError

UNMAPPED = -1
LARGEST_EXACT = 1 << 53  # whole numbers that a float holds without gaps


class Decoded(NamedTuple):
    """A pair as `image_size` x `image_size` arrays, and what is compared with other pairs.

    Attributes:
        image: uint8 (H, W, 3) for colour "rgb" or (H, W, 1) for "grey"; bilinear resize.
        labels: uint8 (H, W), class indices, 255 where ignored; nearest-neighbour resize.
        digest: SHA-256 of the two files' bytes, or of the two pages' samples, hexadecimal.
        image_digest: the same of the image alone.
        instances: uint16 (H, W), 0 where there is no object, else 1, 2, ...; None for data without objects.
        deep_range: least and greatest sample of an image deeper than 8 bits, else None.
        palette: {label value: its colour} of a label picture of classes with a palette; else empty.
        parts: number of connected components of the object, if a label picture of objects holds only one; else 0.
    """

    image: np.ndarray
    labels: np.ndarray
    digest: str
    image_digest: str
    instances: np.ndarray | None
    deep_range: tuple[float, float] | None
    palette: Mapping[int, tuple[int, ...]]
    parts: int


class _Room:
    """Lets threads decode pictures of MOST_PIXELS pixels together at the same time, or a single larger one."""

    def __init__(self) -> None:
        self.taken, self.changed = 0, Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: self.taken == 0 or self.taken + pixels <= MOST_PIXELS)
            self.taken += pixels
        try:
            yield
        finally:
            with self.changed:
                self.taken -= pixels
                self.changed.notify_all()


_room = _Room()


def decode_pair(
    pair: Pair,
    image_size: int,
    colour: str,
    label_map: Mapping[int, int],
    intensity_range: Sequence[float] | None,
    objects: Objects | None = None,
) -> Decoded:
    """Read a pair and resize it, whatever its shape, to a square.

    Raises:
        InputError: a file cannot be read correctly, the two sizes differ, or a label value is not mapped.
    """
    digest = hashlib.sha256()
    with _room.of(count_pixels(pair.image)):
        shown = ShownPicture(pair.image, pair.page, colour, intensity_range)
        image, size, deep_range = shown.resized(image_size), shown.size, shown.deep_range
        _digest(digest, shown.picture, pair.page)
        image_digest = digest.hexdigest()
        is_turned = shown.picture.orientation > 1
        del shown
    with _room.of(count_pixels(pair.labels)):
        picture = read_picture(pair.labels, pair.page)
        if size != picture.size:
            (height, width), turned = picture.size, " (after it is turned as its EXIF orientation asks)"
            raise InputError(
                f"{pair.image}: image is {size[1]}x{size[0]}{turned if is_turned else ''} but its labels "
                f"{pair.labels} are {width}x{height} pixels"
            )
        raw = read_labels(picture)
        _digest(digest, picture, pair.page)
        labels, instances = _resized_labels(pair.labels, raw, image_size, label_map, objects)
    palette, parts = {}, 0
    if objects is not None and objects.classes is None:
        parts = int(ndimage.label(instances)[1]) if instances.max() == 1 else 0
    elif picture.palette is not None:
        palette = {value: tuple(picture.palette[value].tolist()) for value in np.unique(raw).tolist()}
    return Decoded(image, labels, digest.hexdigest(), image_digest, instances, deep_range, palette, parts)


def _digest(digest: "hashlib._Hash", picture: Picture, page: int | None) -> None:
    """Add a file's bytes, or the samples if the file is a stack."""
    if page is None:
        with open(picture.path, "rb") as file:
            while content := file.read(1 << 20):
                digest.update(content)
    else:
        for rows in picture.bands():
            digest.update(np.ascontiguousarray(picture.samples(rows)).tobytes())


def read_labels(picture: Picture) -> np.ndarray:
    """Return the label values of a picture, integer (H, W): its samples as they are stored, whatever they look like.

    A palette gives its indices, one bit 0 and 1, MinIsWhite the same as MinIsBlack. A grey picture that was saved as
    RGB(A) is taken by its first channel.

    Raises:
        InputError: the values are not those that were saved, differ between channels, or are not whole numbers.
    """
    path = picture.path
    if picture.inexact:
        raise InputError(
            f"{path}: cannot hold labels, {picture.inexact}; save it as PNG or TIFF, grey, of 8 or 16 bits"
        )
    if picture.colour == "cmyk":
        raise InputError(f"{path}: labels must be one value per pixel, this picture is coloured (CMYK)")
    raw, count, first = None, COLOURS[picture.colour], None
    for rows in picture.bands():
        samples = picture.samples(rows)
        if (samples[..., 1:count] != samples[..., :1]).any():
            raise InputError(f"{path}: labels must be one value per pixel, this picture is coloured")
        further = samples[..., count:]
        first = further[0, 0] if first is None else first
        if (further != first).any():
            raise InputError(
                f"{path}: labels must be one value per pixel, but its alpha or another channel varies beside its "
                f"{'colours' if count > 1 else 'first'}; save the channel that holds the labels as grey"
            )
        values = samples[..., 0]
        if raw is None:
            raw = np.empty(picture.size, dtype=values.dtype)
        raw[rows] = values
    if raw.dtype.kind not in "iuf":
        raise InputError(f"{path}: labels must be whole numbers, not {raw.dtype}")
    if raw.dtype.kind == "f" or raw.dtype == np.uint64:
        # A comparison with NaN is false.
        if not ((np.abs(raw.astype(np.float64)) <= LARGEST_EXACT) & (raw == np.rint(raw))).all():
            raise InputError(f"{path}: labels must be whole numbers, of 53 bits at most")
        raw = raw.astype(np.int64)
    if picture.is_premultiplied and (first != np.iinfo(raw.dtype).max).any():
        raise InputError(f"{path}: its values are multiplied with alpha; save the labels as grey without alpha")
    return raw


def _resized_labels(
    path: Path, raw: np.ndarray, size: int, label_map: Mapping[int, int], objects: Objects | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the classes uint8 and, if there are any, the objects uint16 of a label picture, resized.

    Connected components are found before resizing, which may close a thin membrane: so the number of cells does not
    depend on the size of the image. Pixels between given objects are found after it, in pixels of the network.
    """
    if objects is None or objects.classes is not None:
        classes = map_labels(path, raw, label_map)
        labels = _resize_labels(classes, size)
        if objects is None:
            return labels, None
        connected = connected_objects(classes, objects.classes)
        return labels, number_objects(path, _resize_labels(connected, size))
    instances = number_objects(path, _resize_labels(number_objects(path, raw), size))
    return map_labels(path, object_classes(instances, objects.border), label_map), instances


def _resize_labels(values: np.ndarray, size: int) -> np.ndarray:
    """Resize (H, W) to (size, size) by nearest neighbours; Pillow knows 8 and 32 bits."""
    picture = Image.fromarray(values if values.dtype == np.uint8 else values.astype(np.int32))
    return np.asarray(picture.resize((size, size), Image.Resampling.NEAREST))


def map_labels(path: Path, raw: np.ndarray, label_map: Mapping[int, int]) -> np.ndarray:
    """Return uint8 class indices for the raw label values; `label_map` is {raw value: class index}.

    Raises:
        InputError: `raw` holds a value that is not in the mapping.
    """
    # A table of all values, not np.unique: sorting the pixels took two thirds of a preparation.
    table = np.full(max(label_map) + 2, UNMAPPED, dtype=np.int16)  # the last entry is of all larger values
    table[list(label_map)] = list(label_map.values())
    classes = np.empty(raw.shape, dtype=np.uint8)
    for start in range(0, len(raw), 256):  # rows; an index of NumPy takes 8 bytes
        found = table.take(raw[start : start + 256], mode="clip")
        if raw[start : start + 256].min() < 0 or found.min() == UNMAPPED:
            unknown = [value for value in np.unique(raw).tolist() if value not in label_map]
            raise InputError(
                f"{path}: label values {unknown[:10]} belong to no class (dataset.classes, dataset.ignored_labels)"
            )
        classes[start : start + 256] = found
    return classes
