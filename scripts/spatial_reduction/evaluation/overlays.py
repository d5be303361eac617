"""Pictures of a prediction for the eye: labels in colours, images with their classes laid over them. No torch."""

from collections.abc import Sequence
from colorsys import hsv_to_rgb
from pathlib import Path

import numpy as np
from PIL import Image

from spatial_reduction.runtime.files import written_whole

# seaborn's palette "colorblind", as all figures have.
COLOURS = ("0173b2", "de8f05", "029e73", "d55e00", "cc78bc", "ca9161", "fbafe4", "949494", "ece133", "56b4e9")
GOLDEN_RATIO = 0.618034  # steps of it round the circle of hues keep any number of them apart
FILL = 0.35


def class_colours(classes: int) -> np.ndarray:
    """Return one colour per class, uint8 (classes, 3), the same in every picture and figure: a palette, then hues."""
    named = [tuple(bytes.fromhex(colour)) for colour in COLOURS[:classes]]
    further = [hsv_to_rgb(index * GOLDEN_RATIO % 1, 0.7, 0.85) for index in range(len(COLOURS), classes)]
    return np.array([*named, *(tuple(round(255 * part) for part in hue) for hue in further)], dtype=np.uint8)


def write_labels(path: str | Path, labels: np.ndarray, classes: int) -> None:
    """Write classes uint8 (H, W) as a palette PNG: the pixels hold the class index, viewers show its colour."""
    picture = Image.fromarray(labels)
    picture.putpalette(class_colours(classes).tobytes())
    _write_png(path, picture)


def write_overlay(
    path: str | Path, pixels: np.ndarray, labels: np.ndarray, classes: int, foreground: Sequence[int]
) -> None:
    """Write an image as PNG with the classes of the foreground tinted, and outlined in their full colour.

    Args:
        pixels: uint8 (H, W, 3) or, grey, (H, W, 1).
        labels: uint8 (H, W).
    """
    colours = class_colours(classes)[labels]
    is_front = np.isin(labels, foreground)[..., None]
    strength = np.where(outlines(labels)[..., None], 1.0, FILL) * is_front
    blended = np.rint(pixels * (1 - strength) + colours * strength).astype(np.uint8)
    _write_png(path, Image.fromarray(blended))


def outlines(labels: np.ndarray) -> np.ndarray:
    """Return the pixels that share a side with another class, bool (H, W)."""
    is_outline = np.zeros(labels.shape, dtype=bool)
    below, beside = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    is_outline[1:] |= below
    is_outline[:-1] |= below
    is_outline[:, 1:] |= beside
    is_outline[:, :-1] |= beside
    return is_outline


def _write_png(path: str | Path, picture: Image.Image) -> None:
    with written_whole(path) as partial:
        picture.save(partial, format="PNG")
