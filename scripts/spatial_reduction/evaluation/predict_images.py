"""Apply a trained model to new images of any size."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial_reduction.data.shown_picture import ShownPicture
from spatial_reduction.evaluation.overlays import write_labels, write_overlay
from spatial_reduction.networks.base import Network
from spatial_reduction.networks.inference import compute_logits
from spatial_reduction.networks.model_file import load_model, require_architecture
from spatial_reduction.networks.test_time_augmentation import average_symmetries, average_symmetries_of_part
from spatial_reduction.networks.tiled_inference import compute_logits_of_part, cut_into_tiles
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5, write_table
from spatial_reduction.runtime.log import progress, say
from spatial_reduction.runtime.plain_text import printable

FOLDERS = ("labels", "overlays", "probabilities")  # beside the table
CHUNK = 512
MOST_PIXELS_HELD = 1 << 24  # of an image in memory; the network's features and the labels need room, too


def predict_images(
    images: Sequence[str | Path],
    model: str | Path,
    table: str | Path,
    dataset: Mapping[str, Any],
    prediction: Mapping[str, Any],
    evaluation: Mapping[str, Any],
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
        dataset: `classes`, names in the order of the model's outputs; `image_size`, `colour` and `intensity_range`: how
            the model's training images were read.
        prediction: `resize`: whether the network sees the image resized to `image_size` squared, as in training, and
            its probabilities are resized back; otherwise it sees the image's own pixels, in tiles of side `tile`.
        evaluation: `foreground`, names of the classes that the overlays show; `test_time_augmentation`: see
            `test_time_augmentation.average_symmetries`.

    Raises:
        InputError: the model is damaged or does not fit, a logit is not finite, or an image could not be read.
    """
    where, folder = machine.enter(), Path(table).parent
    classes, colour, resize, tile = dataset["classes"], dataset["colour"], prediction["resize"], prediction["tile"]
    network = load_model(model, where).eval()
    require_architecture(model, network, 3 if colour == "rgb" else 1, len(classes), None)
    parts = partial(
        _resized_parts if resize else _tiled_parts,
        network,
        side=dataset["image_size"] if resize else tile,
        symmetries=evaluation["test_time_augmentation"],
        device=where,
    )
    front = [classes.index(name) for name in evaluation["foreground"]]
    folder.mkdir(parents=True, exist_ok=True)
    _remove_older(table, folder)
    rows: list[dict[str, Any]] = []
    unread = 0
    for path in progress(sorted(map(Path, images)), len(images), f"{folder}", "images"):
        try:
            image = ShownPicture(path, None, colour, dataset["intensity_range"])
        except InputError as error:
            say(f"left out: {printable(str(error))}")
            unread += 1
            continue
        if image.size[0] * image.size[1] > MOST_PIXELS_HELD:
            image.move_to_disk(folder)
        try:
            labels = _write_probabilities(
                folder / "probabilities" / f"{path.stem}.h5",
                parts(image),
                image.size,
                classes,
                CHUNK if resize else tile,
            )
        except InputError as error:
            raise InputError(f"{model} on {path}: {error}") from error
        write_labels(folder / "labels" / f"{path.stem}.png", labels, len(classes))
        write_overlay(folder / "overlays" / f"{path.stem}.png", image.block, labels, len(classes), front)
        place = {"image": path.name, "height": image.size[0], "width": image.size[1]}
        counts = np.sum([np.bincount(line, minlength=len(classes)) for line in labels], axis=0)
        rows += [{**place, "class": name, "share": counts[i] / labels.size} for i, name in enumerate(classes)]
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


Part = tuple[slice, slice, np.ndarray]  # rows, columns, probabilities float32 (classes, h, w)


def _tiled_parts(
    network: Network, image: ShownPicture, side: int, symmetries: int, device: torch.device
) -> Iterator[Part]:
    """Yield the probabilities of the image's own pixels, tile by tile."""
    predict = partial(compute_logits_of_part, network, device=device)
    for rows, columns in cut_into_tiles(image.size, side, network.period):
        logits = average_symmetries_of_part(predict, image, rows, columns, symmetries)
        yield rows, columns, logits.softmax(dim=1)[0].numpy()


def _resized_parts(
    network: Network, image: ShownPicture, side: int, symmetries: int, device: torch.device
) -> Iterator[Part]:
    """Yield the probabilities that the network sees at `side` x `side` pixels, resized back bilinearly, in parts."""
    predict = partial(compute_logits, network, device=device)
    small = average_symmetries(predict, image.resized(side)[None], symmetries).softmax(dim=1)[0].cpu()
    for rows, columns in cut_into_tiles(image.size, CHUNK, 1):
        along_rows, along_columns = (
            _bilinear(part, length, side) for part, length in zip((rows, columns), image.size, strict=True)
        )
        yield rows, columns, (along_rows @ (small @ along_columns.T)).numpy()


def _bilinear(part: slice, length: int, side: int) -> torch.Tensor:
    """Return the weights, float32 (n, side), with which `side` values are resized to `length` of them, of which n."""
    scale = side / length
    centres = (torch.arange(part.start, part.stop, dtype=torch.float64) + 0.5) * scale
    distances = (torch.arange(side, dtype=torch.float64) + 0.5 - centres[:, None]).abs() / max(scale, 1)
    weights = (1 - distances).clamp(min=0)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def _write_probabilities(
    path: Path, parts: Iterable[Part], size: tuple[int, int], classes: Sequence[str], chunk: int
) -> np.ndarray:
    """Write probabilities as they come; return the most probable classes, uint8 (H, W)."""
    labels = np.empty(size, dtype=np.uint8)
    with create_hdf5(path, "probabilities") as file:
        file.attrs["classes"] = list(classes)
        stored = file.create_dataset(
            "probabilities",
            (len(classes), *size),
            np.float16,
            chunks=(1, *(min(side, chunk, CHUNK) for side in size)),
            compression="gzip",
            shuffle=True,
            fletcher32=True,
        )
        for rows, columns, probabilities in parts:
            stored[:, rows, columns] = probabilities.astype(np.float16)
            labels[rows, columns] = probabilities.argmax(axis=0)
    return labels
