"""The model's own prediction: log-odds of the classes of interest."""

from collections.abc import Iterator, Sequence
from functools import partial, reduce

import numpy as np
import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.saliency.base import Blocks, Context
from spatial_reduction.saliency.batched import score_batches


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield the log-odds of the classes of interest, float32 (n, H, W)."""
    return score_batches(blocks, context, partial(score_probability, classes_of_interest=context.classes_of_interest))


@torch.inference_mode()
def score_probability(network: Network, images: torch.Tensor, classes_of_interest: Sequence[int]) -> torch.Tensor:
    """Return the log-odds of the classes of interest; (n, C, H, W) -> (n, H, W)."""
    return log_odds(network(images), classes_of_interest)


def log_odds(logits: torch.Tensor, classes_of_interest: Sequence[int]) -> torch.Tensor:
    """Return log(P / (1 - P)) in float32, P the summed softmax probability of the classes of interest.

    logsumexp(logits of interest) - logsumexp(the others) ranks pixels as P does, but does not saturate: in
    float32 the softmax itself is exactly 1 from a margin of 17 on, and ties would then decide.

    Args:
        logits: (N, classes, H, W).

    Returns:
        float32 (N, H, W).
    """
    planes = logits.float().contiguous()  # channels last, every step would gather single numbers
    of_interest = [planes[:, index] for index in classes_of_interest]
    others = [planes[:, index] for index in range(planes.shape[1]) if index not in classes_of_interest]
    return _logsumexp(of_interest) - _logsumexp(others)


def _logsumexp(planes: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return log(sum(exp)) of (N, H, W) planes, bit by bit as torch.logsumexp over a dimension of finite values."""
    if len(planes) == 1:
        return planes[0]
    highest = reduce(torch.maximum, planes)
    return sum((plane - highest).exp_() for plane in planes).log_().add_(highest)
