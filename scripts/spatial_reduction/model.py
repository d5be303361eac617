"""The U-Net (Ronneberger, Fischer, Brox 2015, arXiv 1505.04597), padded, of any width list; its file."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from spatial_reduction.errors import InputError
from spatial_reduction.storage import SCHEMA_VERSION, written_whole


class UNet(nn.Module):
    """A U-Net whose 3x3 convolutions are padded, so that the logits have the size of the image.

    Args:
        in_channels: channels of the images.
        classes: number of classes, hence of logits.
        widths: channels at each resolution, from full size down; len(widths) - 1 poolings.

    Widths 32-64-128 with 3 channels and 3 classes are the reference run's network: 466,595 parameters.
    """

    def __init__(self, in_channels: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.architecture = {"in_channels": in_channels, "classes": classes, "widths": list(widths)}
        self.encoders = nn.ModuleList(
            double_convolution(a, b) for a, b in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))  # (128, 64), (64, 32)
        self.upsamplers = nn.ModuleList(nn.ConvTranspose2d(a, b, kernel_size=2, stride=2) for a, b in rising)
        self.decoders = nn.ModuleList(double_convolution(2 * b, b) for _, b in rising)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float (N, C, H, W) in [0, 1] to logits (N, classes, H, W); H, W divisible by 2^poolings."""
        skips = []
        features = images
        for encoder in self.encoders[:-1]:
            features = encoder(features)
            skips.append(features)
            features = self.pool(features)
        features = self.encoders[-1](features)
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            features = decoder(torch.cat([skips.pop(), upsampler(features)], dim=1))
        return self.head(features)


def double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return two padded 3x3 convolutions, each followed by a ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
    )


def build_model(in_channels: int, classes: int, model: Mapping[str, Any], seed: int) -> UNet:
    """Return a U-Net with freshly drawn weights (PyTorch's defaults), the same for equal `seed`."""
    torch.manual_seed(seed)
    return UNet(in_channels, classes, model["widths"]).to(memory_format=torch.channels_last)


def save_model(path: str | Path, model: UNet) -> None:
    """Write the weights as safetensors (never a pickle), the architecture in the file's metadata."""
    # One key only: safetensors writes several in random order, and equal models should be equal bytes.
    metadata = {"model": json.dumps({"schema_version": SCHEMA_VERSION, **model.architecture})}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with written_whole(path) as partial:
        partial.write_bytes(save(tensors, metadata=metadata))


def load_model(path: str | Path, device: torch.device | str = "cpu") -> UNet:
    """Return the model of a file that `save_model` wrote.

    Raises:
        InputError: the file is damaged or its weights do not fit its architecture.
    """
    try:
        with safe_open(path, framework="pt") as file:
            architecture = json.loads((file.metadata() or {})["model"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        if architecture.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError("another schema version")
        model = UNet(**architecture)
        model.load_state_dict(weights)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a model of this workflow ({reason}); delete it and run again") from error
    return model.to(device, memory_format=torch.channels_last)


def require_architecture(
    path: str | Path, model: UNet, in_channels: int, classes: int, widths: Sequence[int] | None
) -> None:
    """Refuse a model file that does not fit the data set, or (widths given) the configuration.

    Raises:
        InputError: names the file, what it holds and what was expected.
    """
    expected = {"in_channels": in_channels, "classes": classes, "widths": list(widths or model.architecture["widths"])}
    if model.architecture != expected:
        raise InputError(f"{path}: model of another architecture: it is {model.architecture}, expected {expected}")


def choose_device(name: str) -> torch.device:
    """Return the device to compute on; `auto` takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        InputError: the named device does not exist on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, is_there in available.items() if is_there)
    if not available[name]:
        raise InputError(f"training.device: {name} is not available on this machine")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return what a report calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def to_input(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images (N, H, W, C) as float32 (N, C, H, W) in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def compute_logits(model: UNet, images: np.ndarray, device: torch.device) -> torch.Tensor:
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


def predict(model: UNet, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Return the predicted class of each pixel, uint8 (n, H, W), for uint8 images (n, H, W, C).

    Raises:
        InputError: a logit is not finite.
    """
    return most_probable(compute_logits(model, images, device))
