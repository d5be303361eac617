"""How long a step of each network takes on this machine, to estimate the time of a whole run."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.networks.inference import predict
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.runtime.device import Machine, device_name
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say
from spatial_reduction.training.batches import Images
from spatial_reduction.training.image_store import InMemory
from spatial_reduction.training.train import build_trainer

STEPS = 5  # that are timed, fewer if they take longer than
SECONDS = 10


def time_networks(
    networks: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    shape: tuple[int, int, int],
    machine: Machine,
    output: str | Path,
) -> None:
    """Time steps and predictions of networks on random images; write them as JSON.

    The file holds `device`, `cores` of this machine, `start` (seconds of CPU time that this process took to begin, as
    every job that computes with a network does) and, of each network, `parameters`, `step` and `image`: median seconds
    of an optimiser step, augmentation included, and of the prediction of one image.

    Args:
        networks: {"model": section, "training": section}.
        shape: (H, W, C) of an image.
    """
    device = machine.enter()
    start = time.process_time()
    data = Dataset(path=Path(), classes=tuple(classes), image_shape=shape, mean=(0.5,), std=(0.25,), digest="", rows={})
    timed = [_time_network(network["model"], network["training"], data, device) for network in networks]
    told = {"device": device_name(device), "cores": _cores(), "start": start, "networks": timed}
    with written_whole(output) as partial:
        partial.write_text(json.dumps(told, indent=1), encoding="utf-8")
    for network in timed:
        say(f"{network['parameters']:,} parameters: {network['step']:.3f} s a step, {network['image']:.4f} s an image")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _time_network(
    model: Mapping[str, Any], training: Mapping[str, Any], data: Dataset, device: torch.device
) -> dict[str, float]:
    drawn, (height, width, channels) = np.random.default_rng(0), data.image_shape
    count = training["batch_size"]
    pixels = drawn.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    tensors = [torch.from_numpy(pixels), torch.from_numpy(drawn.integers(0, len(data.classes), pixels.shape[:3]))]
    if training.get("border_weight") or training.get("class_weights"):
        tensors.append(torch.ones(pixels.shape[:3]))
    tensors[1] = tensors[1].to(torch.uint8)
    images = Images(InMemory(tuple(tensor.to(device) for tensor in tensors)), device)
    drawn_weights = {**model, "weights": None} if "weights" in model else model  # trained weights are no faster
    network = build_model(channels, len(data.classes), drawn_weights, 0).to(device)
    trainer = build_trainer(data, network, (images, images), training, 0)
    step = _median_seconds(lambda: trainer.take_steps(torch.arange(count), 1, [training["learning_rate"]]))
    network.eval()
    block = pixels[: data.block]
    forward = _median_seconds(lambda: predict(network, block, device)) / len(block)
    return {"parameters": sum(each.numel() for each in network.parameters()), "step": step, "image": forward}


def _median_seconds(call: Callable[[], object]) -> float:
    call()  # the first one allocates, and on a GPU compiles
    taken: list[float] = []
    while len(taken) < STEPS and sum(taken) < SECONDS:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))
