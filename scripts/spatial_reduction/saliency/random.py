"""Control: random scores."""

from collections.abc import Iterator

import numpy as np

from spatial_reduction.saliency.base import Blocks, Context


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield independent uniform scores, float32 (n, H, W), drawn from (seed, iteration)."""
    rng = np.random.default_rng((context.seed, context.iteration))
    for _, labels in blocks:
        yield rng.random(labels.shape, dtype=np.float32)
