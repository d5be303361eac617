"""Apply a trained model to new images of any size."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import functional

from spatial_reduction.data.shown_picture import ShownPicture
from spatial_reduction.evaluation.overlays import write_labels, write_overlay
from spatial_reduction.networks.inference import compute_logits
from spatial_reduction.networks.model_file import load_model, require_architecture
from spatial_reduction.networks.test_time_augmentation import Predict, average_symmetries
from spatial_reduction.networks.tiled_inference import compute_logits_tiled
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5, write_table
from spatial_reduction.runtime.log import progress, say
from spatial_reduction.runtime.plain_text import printable

FOLDERS = ("labels", "overlays", "probabilities")  # beside the table
CHUNK = 512


def predict_images(
    images: Sequence[str | Path],
    model: str | Path,
    table: str | Path,
    classes: Sequence[str],
    foreground: Sequence[str],
    image_size: int,
    colour: str,
    intensity_range: Sequence[float] | None,
    resize: bool,
    tile: int,
    test_time_augmentation: int,
    machine: Machine,
) -> None:
    """Write the prediction of every image, at the image's own size, into folders beside `table`.

    `labels/NAME.png`: palette PNG, the pixels hold the class index.
    `overlays/NAME.png`: the image, the classes of the foreground tinted and outlined.
    `probabilities/NAME.h5`: `probabilities` float16 (classes, H, W), attribute `classes`. Three digits also of a
        small probability; 8 bits would hold steps of 0.004 only.

    An image that cannot be read is reported in one line and left out; the others are done, then it is an error.
    Older files in these folders are deleted first.

    Args:
        images: files of distinct stems, which name the results.
        table: CSV (image, height, width, class, share), the share of the image's pixels in [0, 1].
        classes: names in the order of the model's outputs.
        foreground: names of the classes that the overlays show.
        image_size, colour, intensity_range: how the model's training images were read.
        resize: whether the network sees the image resized to `image_size` squared, as in training, and its
            probabilities are resized back; otherwise it sees the image's own pixels, in tiles of side `tile`.
        test_time_augmentation: see `test_time_augmentation.average_symmetries`.

    Raises:
        InputError: the model is damaged or does not fit, a logit is not finite, or an image could not be read.
    """
    where, folder = machine.enter(), Path(table).parent
    network = load_model(model, where).eval()
    require_architecture(model, network, 3 if colour == "rgb" else 1, len(classes), None)
    whole, tiled = partial(compute_logits, network), partial(compute_logits_tiled, network, tile=tile)
    predict = partial(
        average_symmetries, partial(whole if resize else tiled, device=where), symmetries=test_time_augmentation
    )
    front = [classes.index(name) for name in foreground]
    _remove_older(table, folder)
    rows: list[dict[str, Any]] = []
    unread = 0
    for path in progress(sorted(map(Path, images)), len(images), f"{folder}", "images"):
        try:
            image = ShownPicture(path, None, colour, intensity_range)
        except InputError as error:
            say(f"left out: {printable(str(error))}")
            unread += 1
            continue
        probabilities = _probabilities(predict, image, image_size if resize else None, f"{model} on {path}")
        labels = probabilities.argmax(axis=0).astype(np.uint8)
        write_labels(folder / "labels" / f"{path.stem}.png", labels, len(classes))
        write_overlay(folder / "overlays" / f"{path.stem}.png", image.block(), labels, len(classes), front)
        _write_probabilities(folder / "probabilities" / f"{path.stem}.h5", probabilities, classes)
        place = {"image": path.name, "height": image.size[0], "width": image.size[1]}
        rows += [{**place, "class": name, "share": (labels == i).mean()} for i, name in enumerate(classes)]
    if unread:
        raise InputError(f"{unread} of {len(images)} images could not be read (see above); the others are in {folder}")
    write_table(table, rows)
    say(f"{table}: {len(images)} images predicted by {model} on {where.type}")


def _remove_older(table: str | Path, folder: Path) -> None:
    """Remove what an earlier prediction left; a link itself, not what it leads to."""
    Path(table).unlink(missing_ok=True)
    for place in (folder / name for name in FOLDERS):
        if place.is_symlink() or place.is_file():
            place.unlink()
        elif place.exists():
            shutil.rmtree(place)


def _probabilities(predict: Predict, image: ShownPicture, side: int | None, what: str) -> np.ndarray:
    """Return float32 (classes, H, W) of the image's own size; `side` is what the network sees it resized to."""
    pixels = (image.resized(side) if side else image.block())[None]
    try:
        probabilities = predict(pixels).softmax(dim=1).cpu()
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    if side:
        probabilities = functional.interpolate(probabilities, image.size, mode="bilinear", antialias=True)
    return probabilities[0].numpy()


def _write_probabilities(path: Path, probabilities: np.ndarray, classes: Sequence[str]) -> None:
    chunks = (1, *(min(side, CHUNK) for side in probabilities.shape[1:]))
    with create_hdf5(path, "probabilities") as file:
        file.attrs["classes"] = list(classes)
        file.create_dataset(
            "probabilities",
            data=probabilities.astype(np.float16),
            chunks=chunks,
            compression="gzip",
            shuffle=True,
            fletcher32=True,
        )
