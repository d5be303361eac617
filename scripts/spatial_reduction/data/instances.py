"""Objects: numbered in the label pictures, or their connected components. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from spatial_reduction.runtime.errors import InputError

LARGEST = 65535  # what uint16 can tell apart
BACKGROUND, OBJECT, BORDER = 0, 1, 2  # the raw values that `dataset.classes` maps where label pictures hold objects


@dataclass(frozen=True)
class Objects:
    """What the objects of a data set are.

    Attributes:
        classes: class indices whose connected components are the objects; None where the label pictures hold objects,
            one value each and 0 for none.
        border: pixels from two objects within which a pixel counts as between them; for the latter only.
    """

    classes: tuple[int, ...] | None
    border: int

    @classmethod
    def of(cls, dataset: Mapping[str, Any]) -> "Objects | None":
        """Return what the section `dataset` of the configuration says; None for data without objects."""
        section = dataset["instances"]
        if section is None:
            return None
        names = [entry["name"] for entry in dataset["classes"]]
        connected = section["components_of"]
        return cls(connected and tuple(names.index(name) for name in connected), section["border"])


def connected_objects(labels: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    """Number the connected components of some classes from 1 on; uint8 (H, W) -> int32 (H, W), 0 elsewhere.

    Pixels are connected by their sides only (4-connectivity), so that a membrane that is drawn as a diagonal line of
    pixels separates two cells. With 8-connectivity the cells would be connected through it.
    """
    return ndimage.label(np.isin(labels, classes))[0]


def number_objects(path: Path, values: np.ndarray) -> np.ndarray:
    """Number objects 1, 2, ... in the order of their values; integer (H, W) -> uint16 (H, W), 0 stays 0.

    Raises:
        InputError: a value is negative, or there are more objects than uint16 can tell apart.
    """
    low, high = int(values.min()), int(values.max())
    if low < 0:
        raise InputError(f"{path}: an object has the value {low}; values are 0 (no object), 1, 2, ...")
    if high > 16 * LARGEST:  # as in pictures of 32 bits, where a table of all values could fill the memory
        found, places = np.unique(values, return_inverse=True)
        values, high = places.reshape(values.shape) + int(found[0] > 0), len(found)
    is_object = np.zeros(high + 1, dtype=bool)
    is_object[values] = True
    is_object[0] = False
    if is_object.sum() > LARGEST:
        raise InputError(f"{path}: holds {is_object.sum()} objects, more than the {LARGEST} that can be stored")
    numbers = np.where(is_object, np.cumsum(is_object), 0).astype(np.uint16)
    return numbers[values]


def object_classes(instances: np.ndarray, border: int) -> np.ndarray:
    """Return 0 where there is no object, 1 where there is one, 2 between objects; uint16 (H, W) -> uint8 (H, W).

    Between objects is every pixel, in an object or not, whose centre is at most `border` pixels from that of a
    pixel of one object and of a pixel of another.
    """
    classes = np.where(instances > 0, np.uint8(OBJECT), np.uint8(BACKGROUND))
    if border == 0:
        return classes
    rows, columns = np.mgrid[-border : border + 1, -border : border + 1]
    disc = rows**2 + columns**2 <= border**2
    # Two objects are near where the highest and the lowest number within the disc differ.
    highest = ndimage.maximum_filter(instances, footprint=disc, mode="constant", cval=0)
    lowest = np.where(instances > 0, instances, np.uint16(LARGEST))
    lowest = ndimage.minimum_filter(lowest, footprint=disc, mode="constant", cval=LARGEST)
    classes[(highest > 0) & (lowest != highest)] = BORDER
    return classes
