"""Networks by name: how they are built, saved, loaded and asked for a prediction."""

import platform
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial_reduction.allocation import keep_freed_memory
from spatial_reduction.errors import InputError
from spatial_reduction.network import Network
from spatial_reduction.sliding_window import SlidingWindow
from spatial_reduction.storage import SCHEMA_VERSION
from spatial_reduction.tensors import load_tensors, save_tensors
from spatial_reduction.unet import UNet

NETWORKS: dict[str, Callable[..., Network]] = {"unet": UNet, "sliding_window": SlidingWindow}


def build_network(architecture: Mapping[str, Any]) -> Network:
    """Return a network; its `architecture` is the section `model` of the configuration, `in_channels` and `classes`."""
    arguments = dict(architecture)
    network = NETWORKS[arguments.pop("name")](**arguments)
    network.architecture = dict(architecture)
    return network.to(memory_format=torch.channels_last)


def build_model(in_channels: int, classes: int, model: Mapping[str, Any], seed: int) -> Network:
    """Return a network with freshly drawn weights, the same for equal `seed`.

    Args:
        model: the section `model` of the configuration.
    """
    torch.manual_seed(seed)
    return build_network({**model, "in_channels": in_channels, "classes": classes})


def save_model(path: str | Path, model: Network) -> None:
    """Write the weights, with the architecture."""
    save_tensors(path, model.state_dict(), {"schema_version": SCHEMA_VERSION, "architecture": model.architecture})


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Network:
    """Return the model of a file that `save_model` wrote.

    Raises:
        InputError: the file is damaged or its weights do not fit its architecture.
    """
    try:
        weights, description = load_tensors(path)
        if description["schema_version"] != SCHEMA_VERSION:
            raise ValueError("another schema version")
        with torch.device("meta"):  # so a size that the weights do not have takes no memory
            model = build_network(description["architecture"])
        if {name: t.shape for name, t in model.state_dict().items()} != {name: t.shape for name, t in weights.items()}:
            raise ValueError("its weights are not those of its architecture")
        model.to_empty(device="cpu").load_state_dict(weights)
    except (InputError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).removeprefix(f"{path}: ").splitlines()[0]
        raise InputError(f"{path}: not a model of this workflow ({reason}); delete it and run again") from error
    return model.to(device)


def require_architecture(
    path: str | Path, network: Network, in_channels: int, classes: int, model: Mapping[str, Any] | None
) -> None:
    """Refuse a model file that does not fit the data set, or (`model` given) the configuration.

    Raises:
        InputError: names the file, what it holds and what was expected.
    """
    expected = {**(model or network.architecture), "in_channels": in_channels, "classes": classes}
    if _with_defaults(network.architecture) != _with_defaults(expected):
        raise InputError(f"{path}: model of another architecture: it is {network.architecture}, expected {expected}")


def _with_defaults(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Add what an architecture leaves to the network's defaults: a file written before a key was new still fits."""
    parameters = signature(NETWORKS[architecture["name"]]).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | dict(architecture)


def choose_device(name: str) -> torch.device:
    """Return the device to compute on; `auto` takes CUDA, else Apple's MPS, else the CPU.

    On the CPU the process keeps the memory that it frees from here on, see `allocation.keep_freed_memory`.

    Raises:
        InputError: the named device does not exist on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, is_there in available.items() if is_there)
    if not available[name]:
        raise InputError(f"training.device: {name} is not available on this machine")
    if name == "cpu":
        keep_freed_memory()
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return what a report calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def to_input(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images (N, H, W, C) as float32 (N, C, H, W) in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def compute_logits(model: Network, images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return the logits, float32 (n, classes, H, W) on `device`, for uint8 images (n, H, W, C).

    Raises:
        InputError: a logit is not finite.
    """
    with torch.inference_mode():
        logits = model(to_input(torch.from_numpy(images).to(device)))
        if not logits.isfinite().all():
            raise InputError("the model's logits are not finite")
        return logits


def most_probable(logits: torch.Tensor) -> np.ndarray:
    """Return the most probable class of each pixel; (n, classes, H, W) -> uint8 (n, H, W)."""
    return logits.argmax(dim=1).to(torch.uint8).cpu().numpy()


def predict(model: Network, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Return the predicted class of each pixel, uint8 (n, H, W), for uint8 images (n, H, W, C).

    Raises:
        InputError: a logit is not finite.
    """
    return most_probable(compute_logits(model, images, device))
