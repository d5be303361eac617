"""Turn an image and its label picture into arrays of the data set's size."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from spatial_reduction.data.instances import Objects, connected_objects, number_objects, object_classes
from spatial_reduction.data.picture_file import read_picture
from spatial_reduction.runtime.errors import InputError

UNMAPPED = -1


@dataclass(frozen=True)
class Pair:
    """One image, its label picture, the group it is stratified by, and its official split if it has one.

    `page` is the place of both pictures in their files if these are stacks of many.
    """

    name: str
    image: Path
    labels: Path
    group: str = ""
    official: str = ""
    page: int | None = None


class Decoded(NamedTuple):
    """A pair as `image_size` x `image_size` arrays.

    Attributes:
        image: uint8 (H, W, 3) for colour "rgb" or (H, W, 1) for "grey"; bilinear resize.
        labels: uint8 (H, W), class indices, 255 where ignored; nearest-neighbour resize.
        digest: SHA-256 of the two files' bytes, or of the two pages' pixels, hexadecimal.
        instances: uint16 (H, W), 0 where there is no object, else 1, 2, ...; None for data without objects.
    """

    image: np.ndarray
    labels: np.ndarray
    digest: str
    instances: np.ndarray | None


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
        InputError: a file cannot be decoded, the two sizes differ, or a label value is not mapped.
    """
    image, image_bytes = read_picture(pair.image, pair.page)
    label_picture, label_bytes = read_picture(pair.labels, pair.page)
    raw = _single_channel(pair.labels, np.asarray(label_picture))
    if image.size != raw.shape[::-1]:
        raise InputError(
            f"{pair.image}: image is {image.width}x{image.height} but its labels "
            f"{pair.labels} are {raw.shape[1]}x{raw.shape[0]} pixels"
        )
    resized = _as_uint8(pair.image, image, colour, intensity_range).resize(
        (image_size, image_size), Image.Resampling.BILINEAR
    )
    labels, instances = _read_labels(pair.labels, raw, image_size, label_map, objects)
    digest = hashlib.sha256(image_bytes + label_bytes).hexdigest()
    return Decoded(np.asarray(resized).reshape(image_size, image_size, -1), labels, digest, instances)


def _read_labels(
    path: Path, raw: np.ndarray, size: int, label_map: Mapping[int, int], objects: Objects | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the classes uint8 and, if there are any, the objects uint16 of a label picture, resized.

    What hangs together is decided before resizing, which may close a thin membrane: how many cells there are does
    not depend on the size of the image. What lies between given objects is decided after it, in pixels of the network.
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


def read_image(path: Path, colour: str, intensity_range: Sequence[float] | None) -> Image.Image:
    """Return an image at its own size with 8 bits per channel, "RGB" for colour "rgb" or "L" for "grey".

    Raises:
        InputError: the file cannot be read or decoded.
    """
    return _as_uint8(path, read_picture(path, page=None)[0], colour, intensity_range)


def map_labels(path: Path, raw: np.ndarray, label_map: Mapping[int, int]) -> np.ndarray:
    """Return uint8 class indices for the raw label values; `label_map` is {raw value: class index}.

    Raises:
        InputError: `raw` holds a value that is not in the mapping.
    """
    # A table of all values, not np.unique: sorting the pixels took two thirds of a preparation.
    table = np.full(max(label_map) + 2, UNMAPPED, dtype=np.int16)  # the last entry is of all larger values
    table[list(label_map)] = list(label_map.values())
    classes = table.take(raw, mode="clip")
    if raw.min() < 0 or classes.min() == UNMAPPED:
        unknown = [value for value in np.unique(raw).tolist() if value not in label_map]
        raise InputError(
            f"{path}: label values {unknown[:10]} belong to no class (dataset.classes, dataset.ignored_labels)"
        )
    return classes.astype(np.uint8)


def _single_channel(path: Path, raw: np.ndarray) -> np.ndarray:
    """Return labels as (H, W); a grey picture that was saved as RGB(A) is taken by its first channel."""
    if raw.ndim == 3:
        colours = raw[..., :3] if raw.shape[-1] >= 3 else raw[..., :1]
        if (colours != colours[..., :1]).any():
            raise InputError(f"{path}: labels must be one value per pixel, this picture is coloured")
        raw = colours[..., 0]
    if raw.dtype.kind == "f" and (raw != np.rint(raw)).any():
        raise InputError(f"{path}: labels must be whole numbers")
    return raw if raw.dtype.kind in "iu" else raw.astype(np.int64)


def _as_uint8(path: Path, image: Image.Image, colour: str, intensity_range: Sequence[float] | None) -> Image.Image:
    """Return the image with 8 bits per channel; deeper grey values are scaled from `intensity_range`."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        low, high = intensity_range or (0, 65535)
        scaled = (np.asarray(image, dtype=np.float64) - low) * (255 / (high - low))
        if np.isnan(scaled).any():
            raise InputError(f"{path}: holds values that are not a number")
        image = Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
    mode = "RGB" if colour == "rgb" else "L"
    return image if image.mode == mode else image.convert(mode)  # Pillow would copy it
