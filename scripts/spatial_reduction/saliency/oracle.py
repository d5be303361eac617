"""Upper bound: the true foreground, grown or shrunk to the wanted count."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from spatial_reduction.saliency.base import Blocks, Context

USES_LABELS = True


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield each pixel's signed distance to the outline of the classes of interest, float32 (n, H, W)."""
    for _, labels in blocks:
        yield np.stack([signed_distance(np.isin(label, context.classes_of_interest)) for label in labels])


def signed_distance(foreground: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance to the other side in pixels, positive inside; bool (H, W) -> float32.

    Keeping the top n pixels grows or shrinks the foreground to n pixels. Without any foreground (or any
    background) all scores are equal.
    """
    if foreground.all() or not foreground.any():
        return np.zeros(foreground.shape, dtype=np.float32)
    inside = ndimage.distance_transform_edt(foreground)
    outside = ndimage.distance_transform_edt(~foreground)
    return (inside - outside).astype(np.float32)
