"""Control: random scores, equal within small squares, so that what is kept hangs together as in a real mask."""

from collections.abc import Iterator

import numpy as np

from spatial_reduction.saliency.base import Blocks, Context

SQUARES = 16  # along the longer side


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield uniform scores, one per square of 1/16 of the side, float32 (n, H, W), drawn from (seed, iteration).

    The squares lie on the same grid in every iteration, so compounding masks keep whole squares of whole squares;
    the one square that the wanted count cuts keeps its first pixels.
    """
    rng = np.random.default_rng((context.seed, context.iteration))
    for _, labels in blocks:
        count, height, width = labels.shape
        side = max(1, round(max(height, width) / SQUARES))
        scores = rng.random((count, -(-height // side), -(-width // side)), dtype=np.float32)
        yield scores.repeat(side, axis=1).repeat(side, axis=2)[:, :height, :width]
