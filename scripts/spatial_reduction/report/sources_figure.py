"""The picture of all sources of saliency side by side. No torch."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.stats import rankdata

from spatial_reduction.report.examples_figure import class_colour_map, show_classes, show_picture
from spatial_reduction.report.figure_style import SMALL, save_figure, text_size
from spatial_reduction.runtime.files import open_hdf5, well_formed

CELL = 1.05  # inches
FOOT = 1.2  # inches, for the legends
COLOURS = "magma"  # shares no hue with the colours of the classes
REMOVED = (0.85, 0.78, 0.9)  # a pale violet that few photographs hold; black would hide in dark ones


def plot_sources(pictures: str | Path, outputs: Sequence[str | Path]) -> Figure:
    """Draw, per test image: image, truth above prediction, of each source the ranks above what its mask leaves."""
    with open_hdf5(pictures, "sources") as file, well_formed(pictures):
        images, labels, predictions = file["images"][:], file["labels"][:], file["predictions"][:]
        scores, kept, threshold = file["scores"][:], file["kept"][:], file.attrs["threshold"]
        sources, classes = list(file.attrs["sources"]), list(file.attrs["classes"])
    height, width = images.shape[1:3]
    size = (CELL * (3 + len(sources)), CELL * height / width * 2 * len(images) + FOOT)
    figure, colours = plt.figure(figsize=size), class_colour_map(len(classes))
    grid = figure.add_gridspec(
        2 * len(images),
        3 + len(sources),
        left=0.005,
        right=0.995,
        bottom=FOOT / size[1],
        top=0.995,
        wspace=0.05,
        hspace=0.05,
    )
    for row, image in enumerate(images):
        above, below = 2 * row, 2 * row + 1
        first = [figure.add_subplot(grid[above : below + 1, :2])]
        _show_pixels(first[0], image)
        for line, shown in ((above, labels[row]), (below, predictions[row])):
            first.append(figure.add_subplot(grid[line, 2]))
            show_classes(first[-1], shown, colours)
        first.pop()
        for column, (ranks, mask) in enumerate(zip(rank_scores(scores[:, row]), kept[:, row], strict=True), start=3):
            first.append(figure.add_subplot(grid[above, column]))
            show_picture(first[-1], ranks, cmap=COLOURS, vmin=0, vmax=100)
            axes = figure.add_subplot(grid[below, column])
            _show_pixels(axes, image)
            show_picture(axes, _cover(mask))
        if row == 0:
            for axes, name in zip(first, ["image", "truth above,\nprediction below", *sources], strict=True):
                axes.set_title(name if name.endswith(".py") else name.replace("_", "\n"), fontsize=text_size(SMALL))
    _explain(figure, [Patch(color=colours(index), label=name) for index, name in enumerate(classes)], threshold)
    return save_figure(figure, outputs)


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """Return the rank of each pixel in its image, from 0 to 100, ties as their mean; (n, H, W).

    A mask depends on the ranks alone, so sources of different scales can be compared by them.
    """
    flat = scores.reshape(len(scores), -1)
    ranks = rankdata(flat, axis=1) - 0.5
    return (100 * ranks / flat.shape[1]).reshape(scores.shape)


def _show_pixels(axes: Axes, image: np.ndarray) -> None:
    show_picture(axes, image.squeeze(), cmap="gray", vmin=0, vmax=255)


def _cover(kept: np.ndarray) -> np.ndarray:
    """Return an RGBA picture that hides the pixels that are not kept; bool (H, W) -> (H, W, 4)."""
    return np.where(kept[..., None], 0.0, (*REMOVED, 1.0))


def _explain(figure: Figure, patches: Sequence[Patch], threshold: str) -> None:
    """Add the colours of the classes and of the ranks, and say what the rows are, below the pictures."""
    height = figure.get_figheight()
    patches = [*patches, Patch(color=REMOVED, label="removed")]
    place = {"loc": "lower left", "bbox_to_anchor": (0.0, 0.85 / height), "ncols": len(patches)}
    figure.legend(handles=patches, fontsize=text_size(SMALL), frameon=False, **place)
    bar = figure.add_axes((0.02, 0.7 / height, 0.35, 0.1 / height))
    scale = figure.colorbar(ScalarMappable(Normalize(0, 100), COLOURS), cax=bar, orientation="horizontal")
    scale.set_label("rank of the score within the image (%), ties at their mean", fontsize=text_size(SMALL), loc="left")
    scale.ax.tick_params(labelsize=text_size(SMALL), length=2)
    note = f"Of each source, above: ranks of the scores of one model; below: the top {threshold} % of the pixels."
    figure.text(0.01, 0.1 / height, note, fontsize=text_size(SMALL), color="0.35")
