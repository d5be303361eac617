"""Control without a model: the nearer to the centre of the image, the more relevant."""

from collections.abc import Iterator

import numpy as np

from spatial_reduction.saliency.base import Blocks, Context


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:  # noqa: ARG001  (one signature)
    """Yield the logarithm of a Gaussian about the centre of the image, float32 (n, H, W), the same for every image."""
    for _, labels in blocks:
        yield np.broadcast_to(log_gaussian(*labels.shape[1:]), labels.shape)


def log_gaussian(height: int, width: int) -> np.ndarray:
    """Return -d^2 / 2, d the distance in pixels to the centre; float32 (height, width).

    Only the ranking counts, and it is the same for every width of the Gaussian; its logarithm does not vanish far
    from the centre as the Gaussian itself does in float32.
    """
    rows, columns = (np.arange(size) - (size - 1) / 2 for size in (height, width))
    return (-(rows[:, None] ** 2 + columns**2) / 2).astype(np.float32)
