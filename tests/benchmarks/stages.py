"""The stages as runs of a worker: each build function is called in the worker's process."""

import csv
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from machine import matrix_product
from material import Stage
from torch.utils.flop_counter import FlopCounterMode

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.score_pixels import compute_saliency
from spatial_reduction.masks.shrink import shrink_masks, write_intact_mask
from spatial_reduction.networks.inference import to_input
from spatial_reduction.networks.model_file import build_model, load_model, save_model
from spatial_reduction.runtime.device import choose_device
from spatial_reduction.training.train import train_model

Run = Callable[[], float | None]


def write_first_files(stage: Stage) -> None:
    """Write the intact mask and a model with new weights."""
    write_intact_mask(stage.file("dataset.h5"), stage.file("intact_mask.h5"))
    model = {"name": "unet", "widths": list(stage.widths)}
    save_model(stage.file("model.safetensors"), build_model(3, 3, model, seed=1))


def train_once(arguments: Mapping[str, Any]) -> float:
    """Train one epoch; return its seconds as the workflow counts them, the validation with them."""
    arguments["files"].checkpoint.unlink(missing_ok=True)  # it would say that all is done
    train_model(**arguments)
    with open(arguments["files"].history, newline="") as file:
        return float(next(csv.DictReader(file))["cumulative_seconds"])


def build_training(stage: Stage, threads: int, job: str) -> dict[str, Run]:
    """Return `epoch` and `streamed epoch` (seconds of their own), `job` (the whole job) and `product`.

    A streamed epoch reads its images from their file; a product is the rate of a large matrix product.
    """
    arguments = stage.training(threads, job)
    torch.set_num_threads(threads)
    return {
        "epoch": partial(train_once, arguments),
        "streamed epoch": partial(train_once, arguments | {"memory_mb": 0.1}),  # room for no image
        "job": lambda: void(train_once(arguments)),
        "product": matrix_product,
    }


def build_saliency(stage: Stage, threads: int) -> dict[str, Run]:
    """Return `forward`, a bare pass over the training images in memory, `saliency` with `mask`, and `product`."""
    torch.set_num_threads(threads)
    model = load_model(stage.file("model.safetensors"), choose_device("cpu")).eval()
    data = Dataset.open(stage.file("dataset.h5"))
    blocks = [torch.from_numpy(images) for _, images, _ in data.blocks("train")]

    @torch.inference_mode()
    def forward() -> None:
        for images in blocks:
            model(to_input(images))

    def score_and_shrink() -> None:
        compute_saliency(**stage.saliency(threads))
        shrink_masks(**stage.shrinking())

    return {"forward": forward, "saliency and mask": score_and_shrink, "product": matrix_product}


def void(_: object) -> None:
    """Forget a result: the worker then times the run itself."""


def flops_per_image(widths: tuple[int, ...], side: int, trains: bool) -> int:
    """Count the floating-point operations of the convolutions: a forward pass, or a training step, of one image."""
    model = build_model(3, 3, {"name": "unet", "widths": list(widths)}, seed=1)
    images = to_input(torch.zeros(1, side, side, 3, dtype=torch.uint8))
    with FlopCounterMode(display=False) as counter:
        logits = model(images)
        if trains:
            logits.sum().backward()
    return counter.get_total_flops()
