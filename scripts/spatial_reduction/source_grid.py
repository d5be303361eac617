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

from spatial_reduction.picture_grid import class_colours, show_classes, show_picture
from spatial_reduction.plotting import save_figure
from spatial_reduction.storage import open_hdf5

CELL = 1.05  # inches
COLOURS = "viridis"


def plot_sources(pictures: str | Path, outputs: Sequence[str | Path]) -> None:
    """Two rows per test image: image, truth and the ranks of each source's scores; below them what its mask leaves."""
    with open_hdf5(pictures, "sources") as file:
        images, labels, scores, kept = (file[name][:] for name in ("images", "labels", "scores", "kept"))
        sources, classes = list(file.attrs["sources"]), list(file.attrs["classes"])
        threshold = file.attrs["threshold"]
    height, width = images.shape[1:3]
    size = (CELL * (2 + len(sources)), CELL * height / width * 2 * len(images) + 0.9)
    figure, panels = plt.subplots(2 * len(images), 2 + len(sources), figsize=size, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    colours = class_colours(len(classes))
    for row, image in enumerate(images):
        above, below = panels[2 * row], panels[2 * row + 1]
        _show_pixels(above[0], image)
        show_classes(above[1], labels[row], colours)
        for column, ranks in enumerate(rank_scores(scores[:, row]), start=2):
            show_picture(above[column], ranks, cmap=COLOURS, vmin=0, vmax=100)
            _show_pixels(below[column], image * kept[column - 2, row, :, :, None])
    for axes, name in zip(panels[0], ["image", "truth", *sources], strict=True):
        axes.set_title(name.replace("_", "\n", 1).replace("_", "-"), fontsize=7)
    figure.tight_layout(pad=0.3, rect=(0, 0.9 / size[1], 1, 1))
    _explain(figure, [Patch(color=colours(index), label=name) for index, name in enumerate(classes)], threshold)
    save_figure(figure, outputs)


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """Return the rank of each pixel in its image, from 0 to 100, ties as their mean; (n, H, W).

    A mask depends on the ranks alone, so that sources of any scale are compared by what they do.
    """
    flat = scores.reshape(len(scores), -1)
    ranks = rankdata(flat, axis=1) - 0.5
    return (100 * ranks / flat.shape[1]).reshape(scores.shape)


def _show_pixels(axes: Axes, image: np.ndarray) -> None:
    show_picture(axes, image.squeeze(), cmap="gray", vmin=0, vmax=255)


def _explain(figure: Figure, patches: Sequence[Patch], threshold: str) -> None:
    """Add the colours of the classes and of the ranks, and say what the rows are, in the lowest 0.9 inches."""
    height = figure.get_figheight()
    figure.legend(
        handles=list(patches),
        loc="lower left",
        bbox_to_anchor=(0.01, 0.45 / height),
        ncols=len(patches),
        fontsize=7,
        frameon=False,
    )
    bar = figure.add_axes((0.6, 0.62 / height, 0.35, 0.1 / height))
    scale = figure.colorbar(ScalarMappable(Normalize(0, 100), COLOURS), cax=bar, orientation="horizontal")
    scale.set_label("rank of the score within the image (%), ties at their mean rank", fontsize=7)
    scale.ax.tick_params(labelsize=6, length=2)
    note = f"Above: ranks of the scores of one model. Below: the top {threshold} % of the pixels, the others black."
    figure.text(0.01, 0.05 / height, note, fontsize=7, color="0.35")
