"""The model's own prediction: log-odds of the classes of interest."""

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
import torch

from spatial_reduction.determinism import set_determinism
from spatial_reduction.model import choose_device, load_model, require_architecture, to_input
from spatial_reduction.saliency.scores import Blocks, Context


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield the log-odds of the classes of interest, float32 (n, H, W)."""
    torch.set_num_threads(context.threads)
    set_determinism(context.deterministic)
    device = choose_device(context.device)
    model = load_model(context.model, device).eval()
    with torch.inference_mode():
        for images, _ in blocks:
            require_architecture(context.model, model, images.shape[3], context.classes, None)
            logits = model(to_input(torch.from_numpy(images).to(device)))
            yield log_odds(logits, context.classes_of_interest).cpu().numpy()


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
