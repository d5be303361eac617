"""Networks by name: how they are built, saved and loaded."""

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.encoder_unet import EncoderUNet
from spatial_reduction.networks.encoder_weights import load_encoder
from spatial_reduction.networks.own_network import OwnNetwork, trust_network
from spatial_reduction.networks.sliding_window import SlidingWindow
from spatial_reduction.networks.unet import UNet
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import SCHEMA_VERSION
from spatial_reduction.runtime.tensor_file import load_tensors, read_description, save_tensors

NETWORKS: dict[str, Callable[..., Network]] = {
    "unet": UNet,
    "sliding_window": SlidingWindow,
    "encoder_unet": EncoderUNet,
    "file": OwnNetwork,
}


def describe_architecture(in_channels: int, classes: int, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a network is built from: the section `model` of the configuration without its initial weights."""
    described = {key: value for key, value in model.items() if key != "weights"}
    return described | {"in_channels": in_channels, "classes": classes}


def build_network(architecture: Mapping[str, Any], **first_weights: Any) -> Network:
    """Return the network of an architecture, see `describe_architecture`."""
    arguments = dict(architecture)
    network = NETWORKS[arguments.pop("name")](**arguments, **first_weights)
    network.architecture = dict(architecture)
    return network.to(memory_format=torch.channels_last)


def build_model(
    in_channels: int, classes: int, model: Mapping[str, Any], seed: int, encoder: str | Path | None = None
) -> Network:
    """Return a network with new random weights, the same for equal `seed`; those of an encoder may be given.

    Args:
        model: the section `model` of the configuration.
        encoder: file of the encoder's weights, as `fetch_encoder` writes it, where `model` asks for them.

    Raises:
        InputError: the file does not fit, or `model` asks for one and there is none.
    """
    trust_network(model)
    torch.manual_seed(seed)
    architecture = describe_architecture(in_channels, classes, model)
    if not model.get("weights"):
        return build_network(architecture)
    if encoder is None:
        raise InputError(f"model.weights: {model['weights']}: no file of the encoder's weights is given")
    return build_network(architecture, encoder_weights=load_encoder(encoder, model["encoder"]))


def save_model(path: str | Path, model: Network, origin: Mapping[str, Any] | None = None) -> None:
    """Write the weights, with the architecture and what made them, as `read_origin` returns it."""
    described = {"schema_version": SCHEMA_VERSION, "architecture": model.architecture, "origin": origin}
    save_tensors(path, model.state_dict(), described)


def read_origin(path: str | Path) -> dict[str, Any]:
    """Return what made a model: `data`, the digest of its data set; of each rule what its job was asked for (settings,
    code, seed); `files`, the digests of what was written with it. {} if its file does not say.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return read_description(path).get("origin") or {}
    except InputError as error:
        raise InputError(f"{error}; delete it and run again") from error


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
        if not all(weight.isfinite().all() for weight in weights.values()):
            raise ValueError("a weight is not a finite number")
        model = model.to_empty(device="cpu") if _is_all_saved(model) else build_network(description["architecture"])
        model.load_state_dict(weights)
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
    expected = describe_architecture(in_channels, classes, model or network.architecture)
    if _with_defaults(network.architecture) != _with_defaults(expected):
        raise InputError(f"{path}: model of another architecture: it is {network.architecture}, expected {expected}")


def _is_all_saved(model: Network) -> bool:
    """Return whether the weights in a file are all that a network computes with: no buffer is left out of them."""
    return {name for name, _ in model.named_buffers()} <= model.state_dict().keys()


def _with_defaults(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Add what an architecture leaves to the network's defaults: a file written before a key was new still fits."""
    parameters = signature(NETWORKS[architecture["name"]]).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | dict(architecture)
