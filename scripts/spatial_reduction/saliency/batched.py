"""Show a model the images batch by batch: what the sources that ask a model have in common."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from spatial_reduction.data.dataset_file import BLOCK_PIXELS
from spatial_reduction.networks.base import Network
from spatial_reduction.networks.inference import to_input
from spatial_reduction.networks.model_file import load_model, require_architecture
from spatial_reduction.runtime.device import memory_told
from spatial_reduction.saliency.base import Blocks, Context

# A backward pass needs all feature maps at once: about 25 of full width in a U-Net, 1 of 16 MiB at width 32.
GRADIENT_PIXELS = BLOCK_PIXELS // 4

Score = Callable[[Network, torch.Tensor], torch.Tensor]  # images float (n, C, H, W) -> (n, H, W)


def score_batches(
    blocks: Blocks, context: Context, score: Score, batch_pixels: int = BLOCK_PIXELS
) -> Iterator[np.ndarray]:
    """Yield `score` of each block, float32 (n, H, W), computed on at most `batch_pixels` pixels at a time.

    `score` gets the network in evaluation mode with its weights fixed, and ordinary tensors, whatever mode the caller
    is in: it may take gradients with respect to the images.
    """
    device = context.machine.enter()
    with torch.inference_mode(False):
        network = load_model(context.model, device).eval().requires_grad_(False)
    for images, _ in blocks:
        require_architecture(context.model, network, images.shape[3], context.classes, None)
        yield np.concatenate([_score(network, part, score, device) for part in _cut(images, batch_pixels)])


def _cut(images: np.ndarray, batch_pixels: int) -> Iterator[np.ndarray]:
    size = max(1, batch_pixels // (images.shape[1] * images.shape[2]))
    return (images[start : start + size] for start in range(0, len(images), size))


def _score(network: Network, images: np.ndarray, score: Score, device: torch.device) -> np.ndarray:
    what = f"the saliency of {len(images)} images; fewer jobs at a time (--resources gpu=N) need less"
    with memory_told(device, what), torch.inference_mode(False), torch.enable_grad():
        scores = score(network, to_input(torch.from_numpy(images).to(device)))
        return scores.detach().to(torch.float32).cpu().numpy()
