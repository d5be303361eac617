"""Iterated Grad-CAM with the stopping rule of its paper: any fall of the relevance of what is left ends it."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from spatial_reduction.saliency.base import Blocks, Context
from spatial_reduction.saliency.batched import GRADIENT_PIXELS, score_batches
from spatial_reduction.saliency.iterative_grad_cam import iterate_activation


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield scores as `iterative_grad_cam` does; after one pass they rank pixels as `grad_cam`."""
    score = partial(iterate_activation, classes_of_interest=context.classes_of_interest, left=1.0)
    return score_batches(blocks, context, score, GRADIENT_PIXELS)
