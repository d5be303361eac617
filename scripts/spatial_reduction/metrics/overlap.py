"""Segmentation measures, each defined once, all from confusion matrices. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spatial_reduction.data.labels import IGNORED


def confusion_matrices(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Count, in each image, the pixels of class i (row) that were predicted as class j (column).

    Args:
        labels: uint8 (N, H, W), 255 is ignored.
        predictions: integer (N, H, W) in 0..classes-1.

    Returns:
        int64 (N, classes, classes).
    """
    images = len(labels)
    image = np.repeat(np.arange(images), labels[0].size)
    flat, predicted = labels.reshape(-1).astype(np.int64), predictions.reshape(-1).astype(np.int64)
    valid = flat != IGNORED
    cell = (image * classes + flat) * classes + predicted
    return np.bincount(cell[valid], minlength=images * classes**2).reshape(images, classes, classes)


def iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union, TP / (TP + FP + FN), of each class; (..., C, C) -> float64 (..., C).

    NaN where a class is absent: in neither the labels nor the prediction.
    """
    hit, predicted, true = _counts(confusion)
    return ratio(hit, predicted + true - hit)


def dice(confusion: np.ndarray) -> np.ndarray:
    """Dice coefficient, 2 TP / (2 TP + FP + FN), of each class; (..., C, C) -> float64 (..., C), NaN if absent."""
    hit, predicted, true = _counts(confusion)
    return ratio(2 * hit, predicted + true)


def pixel_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of the labelled pixels that are predicted right; (..., C, C) -> float64 (...)."""
    return ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


def merge_foreground(confusion: np.ndarray, foreground: Sequence[int]) -> np.ndarray:
    """Return the two-class confusion (..., 2, 2) of foreground (index 1) against all other classes."""
    to_binary = np.zeros((confusion.shape[-1], 2), dtype=confusion.dtype)
    for index in range(confusion.shape[-1]):
        to_binary[index, int(index in foreground)] = 1
    return to_binary.T @ confusion @ to_binary


def mean_over_classes(values: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Mean over the given classes, absent ones (NaN) left out; NaN if all are absent; (..., C) -> (...)."""
    chosen = values[..., list(classes)]
    present = ~np.isnan(chosen)
    return ratio(np.where(present, chosen, 0).sum(axis=-1), present.sum(axis=-1))


def measure(confusion: np.ndarray, name: str, classes: Sequence[int], foreground: Sequence[int]) -> np.ndarray:
    """Return one summary measure in [0, 1]; (..., C, C) -> (...).

    Args:
        name: `mean_iou` or `mean_dice` (over `classes`), `binary_iou` (of the merged `foreground` classes
            against the rest) or `pixel_accuracy`.
    """
    if name == "mean_iou":
        return mean_over_classes(iou(confusion), classes)
    if name == "mean_dice":
        return mean_over_classes(dice(confusion), classes)
    if name == "binary_iou":
        return iou(merge_foreground(confusion, foreground))[..., 1]
    return pixel_accuracy(confusion)


def labelled_classes(confusion: np.ndarray) -> list[int]:
    """Return the label values that the labels of a set of images hold, of its confusion (..., C, C).

    Means over classes are over these, so that every model is averaged over the same ones: a class that the labels lack
    would count for the models that predict it somewhere, with 0, and for no other.
    """
    return np.flatnonzero(confusion.sum(axis=-1).reshape(-1, confusion.shape[-1]).any(axis=0)).tolist()


@dataclass(frozen=True)
class ClassSets:
    """Which classes are averaged over, as label values.

    Attributes:
        names: of all classes.
        groups: {name: the classes of the group that the labels hold}; `all` is one of them.
        foreground: classes that `binary_iou` merges.
    """

    names: Sequence[str]
    groups: Mapping[str, Sequence[int]]
    foreground: Sequence[int]

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        foreground: Sequence[str],
        labelled: Sequence[int],
    ) -> "ClassSets":
        """Find the label values of groups of class names; `labelled` are those that the labels hold."""
        index = list(names).index
        members = {
            group: [value for value in map(index, its) if value in labelled]
            for group, its in {"all": names, **groups}.items()
        }
        return cls(names, members, [index(name) for name in foreground])


def measure_overlap(confusion: np.ndarray, classes: ClassSets) -> dict[tuple[str, str], np.ndarray]:
    """Return {(measure, class or group): values in [0, 1]} of each confusion, (..., C, C) -> (...).

    `iou` and `dice` of each class and their means over each group, `binary_iou` and `pixel_accuracy`.
    """
    values = {}
    for name, per_class in (("iou", iou(confusion)), ("dice", dice(confusion))):
        values |= {(name, each): per_class[..., index] for index, each in enumerate(classes.names)}
    for name in ("mean_iou", "mean_dice"):
        values |= {
            (name, group): measure(confusion, name, members, classes.foreground)
            for group, members in classes.groups.items()
        }
    for name, group in (("binary_iou", "foreground"), ("pixel_accuracy", "all")):
        values[name, group] = measure(confusion, name, classes.groups["all"], classes.foreground)
    return values


def measure_all(
    confusion: np.ndarray, classes: Sequence[str], groups: Mapping[str, Sequence[str]], foreground: Sequence[str]
) -> list[tuple[str, str, float]]:
    """Return rows (measure, class, value in [0, 1]) of a set of images.

    The measures of `measure_overlap`, pooled over all pixels; those named `image_...` are means over images of each
    image's value. `absent_images` counts the images that a class's `image_iou` leaves out.

    Args:
        confusion: int64 (N, C, C), a matrix per image.
        groups: {name: class names} to average over; `all` is added.
    """
    about = ClassSets.of(classes, groups, foreground, labelled_classes(confusion))
    pooled, per_image = measure_overlap(confusion.sum(axis=0), about), measure_overlap(confusion, about)
    rows = [(name, group, float(value)) for (name, group), value in pooled.items()]
    rows += [(f"image_{name}", group, mean_over_images(values)) for (name, group), values in per_image.items()]
    absent = np.isnan(iou(confusion)).sum(axis=0)
    return rows + [("absent_images", each, float(count)) for each, count in zip(classes, absent, strict=True)]


def mean_over_images(values: np.ndarray) -> float:
    """Mean of the values that are defined, NaN if none is; (N,) -> float."""
    return float(mean_over_classes(values[None], range(len(values)))[0])


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide in float64; NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _counts(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-2), confusion.sum(axis=-1)
