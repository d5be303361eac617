"""The grid of test images: truth, saliency, kept pixels and predictions. No torch."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spatial_reduction.evaluation.overlays import class_colours
from spatial_reduction.report.figure_style import SMALL, save_figure, text_size
from spatial_reduction.runtime.files import open_hdf5, well_formed

SALIENCY = "magma"  # shares no hue with the colours of the classes


def plot_examples(examples: str | Path, title: str, outputs: Sequence[str | Path]) -> Figure:
    """Draw one row per test image: image, truth, prediction of the single pass, saliency and kept pixels, prediction.

    Saliency and kept pixels come once for every iteration from the second on; the last column is the prediction of the
    last iteration. One scale of saliency holds for all pictures.
    """
    with open_hdf5(examples, "examples") as file, well_formed(examples):
        images, labels, predictions = file["images"][:], file["labels"][:], file["predictions"][:]
        saliency, reduced, classes = file["saliency"][:], file["reduced"][:], list(file.attrs["classes"])
    columns = ["image", "truth", "prediction of\nsingle pass"]
    for iteration in range(2, len(predictions) + 1):
        columns += [f"saliency\nof iteration {iteration - 1}", f"kept for\niteration {iteration}"]
    columns.append(f"prediction of\niteration {len(predictions)}")
    figure, panels = plt.subplots(
        len(images), len(columns), figsize=(1.05 * len(columns), 1.13 * len(images) + 0.6), squeeze=False
    )
    colours = class_colour_map(len(classes))
    low, high = np.quantile(saliency, [0.02, 0.98]) if saliency.size else (0.0, 1.0)
    for row, image in enumerate(images):
        cells = iter(panels[row])
        show_picture(next(cells), image.squeeze(), cmap="gray", vmin=0, vmax=255)
        for classes_of_pixels in (labels[row], predictions[0, row]):
            show_classes(next(cells), classes_of_pixels, colours)
        for step in range(1, len(predictions)):
            show_picture(next(cells), saliency[step - 1, row], cmap=SALIENCY, vmin=low, vmax=high)
            show_picture(next(cells), reduced[step, row].squeeze(), cmap="gray", vmin=0, vmax=255)
        show_classes(next(cells), predictions[-1, row], colours)
    small = text_size(SMALL)
    for axes, name in zip(panels[0], columns, strict=True):
        axes.set_title(name, fontsize=small)
    figure.suptitle(title, fontsize=text_size(), x=0.01, y=1.0, ha="left")
    foot = 0.45 / figure.get_figheight()
    figure.tight_layout(pad=0.3, rect=(0, foot, 1, 0.98))
    patches = [Patch(color=colours(index), label=name) for index, name in enumerate(classes)]
    figure.legend(handles=patches, loc="lower left", ncols=len(patches), fontsize=small, frameon=False)
    if saliency.size:
        bar = figure.add_axes((0.55, 0.65 * foot, 0.4, 0.2 * foot))
        scale = figure.colorbar(ScalarMappable(Normalize(low, high), SALIENCY), cax=bar, orientation="horizontal")
        scale.set_label("saliency: score of the pixel, one scale for all pictures", fontsize=small)
        scale.ax.tick_params(labelsize=small, length=2)
    return save_figure(figure, outputs)


def class_colour_map(classes: int) -> ListedColormap:
    """Return the colours of the classes for grids of pictures."""
    return ListedColormap(class_colours(classes) / 255)


def show_picture(axes: Axes, picture: np.ndarray, **style: object) -> None:
    """Show pixels as squares, without axes."""
    axes.imshow(picture, interpolation="nearest", **style)
    axes.set_axis_off()


def show_classes(axes: Axes, classes: np.ndarray, colours: ListedColormap) -> None:
    """Show label values (H, W) in their colours, ignored pixels in none."""
    show_picture(axes, np.ma.masked_greater_equal(classes, colours.N), cmap=colours, vmin=-0.5, vmax=colours.N - 0.5)
