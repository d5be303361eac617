"""Where the model is least certain: the entropy of its prediction."""

from collections.abc import Iterator

import numpy as np
import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.saliency.base import Blocks, Context
from spatial_reduction.saliency.batched import score_batches


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield the entropy of the predicted class in nats, float32 (n, H, W); the classes of interest play no part."""
    return score_batches(blocks, context, score_entropy)


@torch.inference_mode()
def score_entropy(network: Network, images: torch.Tensor) -> torch.Tensor:
    """Return -sum p log p of the softmax over classes; (n, C, H, W) -> (n, H, W), from 0 to log(classes).

    log p comes from the logits, not from p: certain pixels rank on up to a margin of about 100 between logits, where p
    itself is 0 in float32.
    """
    log_probabilities = network(images).float().log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)
