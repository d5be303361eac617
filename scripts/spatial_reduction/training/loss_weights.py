"""Weights of the pixels in the loss: more where two cells nearly touch, more for rare classes. No torch.

Ronneberger, Fischer, Brox: U-Net (MICCAI 2015, arXiv 1505.04597), equation 2:
w = w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2)).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.labels import IGNORED
from spatial_reduction.runtime.log import progress

REACH = 5  # sigmas around a cell in which it counts; farther away the border term is below exp(-12.5) = 4e-6 of w0


def training_weights(data: Dataset, weighting: Mapping[str, Any] | None) -> np.ndarray | None:
    """Return the weight of each pixel of the training split in the loss, float32 (N, H, W); None if all are 1.

    Args:
        weighting: keys of the section `training`, each None if missing. `class_weights`: `balanced`, or w_c by the
            class's name, 1 where it is not named. `border_weight`: `weight` (w0) and `sigma` in pixels.

    Raises:
        InputError: the border term is asked for, and the data set has no objects.
    """
    weighting = weighting or {}
    of_classes, borders = weighting.get("class_weights"), weighting.get("border_weight") or {"weight": 0}
    if not of_classes and not borders["weight"]:
        return None
    weights = np.ones((data.count("train"), *data.image_shape[:2]), dtype=np.float32)
    if of_classes:
        of_class = _weights_of_labels(data, of_classes)
        for where, _, labels in data.blocks("train"):
            weights[where] = of_class[labels]
    if borders["weight"]:
        for index in progress(range(len(weights)), len(weights), "weighing borders", "images"):
            instances = data.instances("train", slice(index, index + 1))[0]
            weights[index] += border_term(instances, borders["weight"], borders["sigma"])
    return weights


def _weights_of_labels(data: Dataset, of_classes: str | Mapping[str, float]) -> np.ndarray:
    if of_classes == "balanced":
        return class_weights(_pixel_counts(data))
    weights = np.ones(256, dtype=np.float32)
    for name, weight in of_classes.items():
        weights[data.classes.index(name)] = weight
    return weights


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Return w_c of each label value: inversely proportional to its count of pixels, 1 on average over pixels.

    The paper says only that w_c balances the class frequencies.

    Args:
        counts: integer (256,), of each label value; 255 is ignored.

    Returns:
        float32 (256,); each of C classes that there are weighs total / (C count) a pixel, all other values 1.
    """
    is_there = (counts > 0) & (np.arange(256) != IGNORED)
    weights = np.ones(256, dtype=np.float32)
    weights[is_there] = counts[is_there].sum() / (is_there.sum() * counts[is_there])
    return weights


def border_term(instances: np.ndarray, weight: float, sigma: float) -> np.ndarray:
    """Return w0 exp(-(d1 + d2)^2 / (2 sigma^2)), for every pixel, in a cell or not; float32 (H, W).

    d1 and d2 are the Euclidean distances in pixels to the nearest and to the second-nearest cell's border: the cell's
    pixels that touch by a side a pixel outside of it. The edge of the image is no border. Where no second border is
    within `REACH` sigmas the term is 0.

    Args:
        instances: uint16 (H, W), 0 where there is no cell.
        weight, sigma: w0 and sigma; 10 and 5 pixels in the paper.
    """
    from scipy import ndimage  # imported here: most trainings weigh no borders

    reach = math.ceil(REACH * sigma)
    first, second = np.full((2, *instances.shape), np.inf)
    for value, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        window = tuple(slice(max(0, part.start - reach), part.stop + reach) for part in box)
        cell = instances[window] == value
        inside = ndimage.binary_erosion(cell, border_value=1)
        if (cell == inside).all():  # it fills the image
            continue
        distance = ndimage.distance_transform_edt(~cell | inside)
        second[window] = np.minimum(second[window], np.maximum(first[window], distance))
        first[window] = np.minimum(first[window], distance)
    return (weight * np.exp(-((first + second) ** 2) / (2 * sigma**2))).astype(np.float32)


def _pixel_counts(data: Dataset) -> np.ndarray:
    counts = [np.bincount(labels.reshape(-1), minlength=256) for _, _, labels in data.blocks("train")]
    return np.sum(counts, axis=0)
