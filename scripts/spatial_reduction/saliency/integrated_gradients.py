"""Integrated gradients: how much each pixel, faded in from black, adds to the prediction of the classes of interest."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from captum.attr import IntegratedGradients

from spatial_reduction.networks.base import Network
from spatial_reduction.saliency.base import Blocks, Context
from spatial_reduction.saliency.batched import GRADIENT_PIXELS, score_batches
from spatial_reduction.saliency.interest import LogitsOfInterest

STEPS = 32  # the authors find 20 to 300 enough (memory)


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield the sum over channels of the attributions' absolute values, float32 (n, H, W).

    A black pixel is its own baseline: its score is 0.
    """
    score = partial(score_attributions, classes_of_interest=context.classes_of_interest)
    return score_batches(blocks, context, score, GRADIENT_PIXELS)


def score_attributions(network: Network, images: torch.Tensor, classes_of_interest: Sequence[int]) -> torch.Tensor:
    """Return the sum over channels of |attribution|; float (n, C, H, W) -> (n, H, W)."""
    return attribute(network, images, classes_of_interest).abs().sum(dim=1)


def attribute(network: Network, images: torch.Tensor, classes_of_interest: Sequence[int]) -> torch.Tensor:
    """Return x times the mean gradient on the straight path from black to x; float (n, C, H, W), same shape.

    Sundararajan, Taly, Yan 2017 (arXiv 1703.01365), the path integral by 32-point Gauss-Legendre quadrature. The logits
    that are added up are chosen at x and stay fixed along the path, so that the attributions of an image sum to its
    `LogitsOfInterest` minus that of black, up to the error of the quadrature (at most 2 % in 16 real images). The
    network sees len(images) pictures at a time.
    """
    target = LogitsOfInterest(network, classes_of_interest)
    return IntegratedGradients(target).attribute(
        images,
        additional_forward_args=(target.choose(images),),
        n_steps=STEPS,
        internal_batch_size=len(images),
    )
