"""Seg-Grad-CAM: where the features of the bottleneck are that support the prediction of the classes of interest."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from captum.attr import LayerGradCam

from spatial_reduction.networks.base import Network
from spatial_reduction.saliency.base import Blocks, Context
from spatial_reduction.saliency.batched import GRADIENT_PIXELS, score_batches
from spatial_reduction.saliency.interest import LogitsOfInterest


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield the class activation map, float32 (n, H, W); it is 0 where no feature supports the classes of interest.

    Zeros are ties, of which a mask keeps the first pixels. An image without a pixel that is predicted as a class of
    interest has zeros only.
    """
    score = partial(map_activation, classes_of_interest=context.classes_of_interest)
    return score_batches(blocks, context, score, GRADIENT_PIXELS)


def map_activation(network: Network, images: torch.Tensor, classes_of_interest: Sequence[int]) -> torch.Tensor:
    """Return the class activation map of the bottleneck's features; float (n, C, H, W) -> (n, H, W), not negative.

    ReLU(sum_k alpha_k A_k), A_k the k-th feature map of `network.bottleneck`, alpha_k the mean over its positions of
    the gradient of `LogitsOfInterest` (Grad-CAM: Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2; for
    segmentation: Vinogradova et al. 2020, arXiv 2002.11434); enlarged bilinearly to the size of the image.
    """
    explainer = LayerGradCam(LogitsOfInterest(network, classes_of_interest), network.bottleneck)
    coarse = explainer.attribute(images.detach().requires_grad_(), relu_attributions=True)
    return network.enlarge(coarse.detach(), *images.shape[2:])[:, 0]
