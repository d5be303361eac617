"""Networks by name: how they are built, saved and loaded."""

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.sliding_window import SlidingWindow
from spatial_reduction.networks.unet import UNet
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import SCHEMA_VERSION
from spatial_reduction.runtime.tensor_file import load_tensors, save_tensors

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
