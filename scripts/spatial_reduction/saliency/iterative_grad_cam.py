"""Iterated Grad-CAM, each time without what it found before: it finds parts that the strongest one hides."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.saliency.base import Blocks, Context
from spatial_reduction.saliency.batched import GRADIENT_PIXELS, score_batches
from spatial_reduction.saliency.grad_cam import map_activation
from spatial_reduction.saliency.probability import log_odds

# After IteRPrimE (arXiv 2503.00936).
PASSES = 3
STEEPNESS = 20
FOUND = 0.5
RATE = 0.2  # weight of a new pass in the average
LEFT = 0.5  # this project's value: black removes context, so with 1 any fall may end it after the first pass


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield the average of the squashed class activation maps of up to three passes, float32 (n, H, W), in (0, 1)."""
    score = partial(iterate_activation, classes_of_interest=context.classes_of_interest, left=LEFT)
    return score_batches(blocks, context, score, GRADIENT_PIXELS)


def iterate_activation(
    network: Network, images: torch.Tensor, classes_of_interest: Sequence[int], left: float
) -> torch.Tensor:
    """Return the average map; float (n, C, H, W) -> (n, H, W).

    Each pass blackens what the passes before it found (squashed map of at least 0.5) and enters the average with
    weight 0.2. An image is done when the blackening leaves less than the share `left` of the relevance (probability of
    the classes of interest) of its area not yet found: that area was relevant beside what was found only. As published,
    `left` is 1: any fall ends it.
    """
    average, before = _focus(network, images, classes_of_interest)
    free = average < FOUND  # (n, H, W)
    going = torch.arange(len(images), device=images.device)  # images that go on
    for _ in range(PASSES - 1):
        squashed, relevance = _focus(network, images[going] * free[going, None], classes_of_interest)
        gain = torch.where(free[going], relevance - left * before[going], 0).sum(dim=(1, 2))
        goes_on = gain >= 0
        going, squashed, relevance = going[goes_on], squashed[goes_on], relevance[goes_on]
        if not len(going):
            break
        average[going] = (1 - RATE) * average[going] + RATE * squashed
        free[going] &= squashed < FOUND
        before[going] = relevance
    return average


def squash(maps: torch.Tensor) -> torch.Tensor:
    """Stretch each map to [0, 1], then sharpen it: sigmoid(20 (x - 0.5)); (n, H, W). A flat map counts as 0."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    stretched = (maps - low) / torch.where(high > low, high - low, 1)
    return torch.sigmoid(STEEPNESS * (stretched - 0.5))


def _focus(network: Network, images: torch.Tensor, interest: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the squashed class activation map, and the probability of the classes of interest; (n, H, W) each."""
    squashed = squash(map_activation(network, images, interest))
    with torch.no_grad():
        return squashed, torch.sigmoid(log_odds(network(images), interest))
