"""Images with the outlines of their labels: are the labels read correctly? No torch."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy import ndimage

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.labels import IGNORED
from spatial_reduction.evaluation.overlays import class_colours, outlines
from spatial_reduction.report.examples_figure import class_colour_map, show_picture
from spatial_reduction.report.figure_style import SMALL, save_figure, text_size

SIDE = 220  # least side in pixels of an image that is drawn
IGNORED_COLOUR = (255, 255, 255)
SHOWN = {"train": 8, "validation": 3, "test": 3}  # images of each split, evenly spaced over it
COLUMNS = 7
CELL = 1.1  # inches


def plot_labels(dataset: str | Path, foreground: Sequence[str], outputs: Sequence[str | Path]) -> Figure:
    """Draw images of every split as the networks see them, with the outlines of the classes of `foreground`."""
    data = Dataset.open(dataset)
    outlined = data.class_indices(foreground)
    drawn = []
    for split, wanted in SHOWN.items():
        positions = np.unique(np.linspace(0, data.count(split) - 1, wanted).round().astype(int))
        for image, labels in zip(*data.pick(split, positions), strict=True):
            drawn.append((split, draw_labels(image, labels, outlined)))
    rows = -(-len(drawn) // COLUMNS)
    height = rows * (CELL + 0.2) + 0.35
    figure, panels = plt.subplots(rows, COLUMNS, figsize=(CELL * COLUMNS, height), squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    for axes, (split, pixels) in zip(panels.flat, drawn, strict=False):
        show_picture(axes, pixels)
        axes.set_title(split, fontsize=text_size(SMALL), pad=2)
    colours = class_colour_map(len(data.classes))
    patches = [Patch(color=colours(index), label=data.classes[index]) for index in outlined]
    figure.tight_layout(pad=0.3, rect=(0, 0.35 / height, 1, 1))
    figure.legend(handles=patches, loc="lower left", ncols=len(patches), fontsize=text_size(SMALL), frameon=False)
    return save_figure(figure, outputs)


def draw_labels(image: np.ndarray, labels: np.ndarray, outlined: Sequence[int]) -> np.ndarray:
    """Return an image with the outlines of its classes, uint8 (n S, n S, 3), enlarged to SIDE pixels at least.

    A line is drawn inside of its class, as wide as half a pixel of the image, 1 pixel at least.

    Args:
        image: uint8 (S, S, 3) or (S, S, 1).
        labels: uint8 (S, S).
        outlined: classes whose outlines are drawn, in their colours; ignored pixels are outlined in white.
    """
    times = max(1, -(-SIDE // len(image)))
    pixels = np.broadcast_to(image, (*image.shape[:2], 3)).repeat(times, axis=0).repeat(times, axis=1)
    large = labels.repeat(times, axis=0).repeat(times, axis=1)
    colours = class_colours(IGNORED + 1)
    colours[IGNORED] = IGNORED_COLOUR
    line = ndimage.binary_dilation(outlines(large), iterations=times // 2 - 1) if times > 3 else outlines(large)
    drawn = line & np.isin(large, [*outlined, IGNORED])
    return np.where(drawn[..., None], colours[large], pixels)
