"""The picture grid: test images, what is known, found, kept and predicted. No torch."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from spatial_reduction.report.figure_style import save_figure
from spatial_reduction.runtime.files import open_hdf5, well_formed


def plot_examples(examples: str | Path, title: str, outputs: Sequence[str | Path]) -> None:
    """One row per test image: image, truth, prediction of the single pass, then for every iteration from the
    second on the saliency and the pixels it left, then the prediction of the last iteration."""
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
    colours = class_colours(len(classes))
    reach = np.quantile(np.abs(saliency), 0.98) if saliency.size else 1.0
    for row, image in enumerate(images):
        cells = iter(panels[row])
        show_picture(next(cells), image.squeeze(), cmap="gray", vmin=0, vmax=255)
        for classes_of_pixels in (labels[row], predictions[0, row]):
            show_classes(next(cells), classes_of_pixels, colours)
        for step in range(1, len(predictions)):
            show_picture(next(cells), saliency[step - 1, row], cmap="RdBu_r", vmin=-reach, vmax=reach)
            show_picture(next(cells), reduced[step, row].squeeze(), cmap="gray", vmin=0, vmax=255)
        show_classes(next(cells), predictions[-1, row], colours)
    for axes, name in zip(panels[0], columns, strict=True):
        axes.set_title(name, fontsize=7)
    figure.suptitle(title, fontsize=9, x=0.01, y=1.0, ha="left")
    patches = [Patch(color=colours(index), label=name) for index, name in enumerate(classes)]
    ends = [
        Patch(color=plt.get_cmap("RdBu_r")(end), label=text) for end, text in ((0.9, "salient"), (0.1, "not salient"))
    ]
    figure.tight_layout(pad=0.3, rect=(0, 0.05, 1, 0.98))
    figure.legend(handles=patches + ends, loc="lower center", ncols=len(patches) + 2, fontsize=7, frameon=False)
    save_figure(figure, outputs)


def class_colours(classes: int) -> ListedColormap:
    """Return the colours of the classes, the same in every picture grid."""
    return ListedColormap(sns.color_palette("colorblind", max(3, classes))[:classes])


def show_picture(axes: Axes, picture: np.ndarray, **style: object) -> None:
    """Show pixels as squares, without axes."""
    axes.imshow(picture, interpolation="nearest", **style)
    axes.set_axis_off()


def show_classes(axes: Axes, classes: np.ndarray, colours: ListedColormap) -> None:
    """Show label values (H, W) in their colours, ignored pixels in none."""
    show_picture(axes, np.ma.masked_greater_equal(classes, colours.N), cmap=colours, vmin=-0.5, vmax=colours.N - 0.5)
