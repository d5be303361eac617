"""Ask a network for a prediction: from uint8 images to logits and classes."""

import numpy as np
import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.runtime.device import memory_told
from spatial_reduction.runtime.errors import InputError


def to_input(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images (N, H, W, C) as float32 (N, C, H, W) in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def compute_logits(model: Network, images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return the logits, float32 (n, classes, H, W) on `device`, for uint8 images (n, H, W, C).

    Raises:
        InputError: a logit is not finite.
    """
    what = f"the prediction of {len(images)} images; fewer jobs at a time (--resources gpu=N) need less"
    with memory_told(device, what), torch.inference_mode():
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
