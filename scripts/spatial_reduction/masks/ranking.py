"""Which pixels a mask keeps: exact counts, ranking, ties."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from spatial_reduction.runtime.errors import InputError


def kept_count(pixels: int, threshold: float | str | Fraction) -> int:
    """Return how many of `pixels` stay when the top `threshold` per cent are kept.

    floor(pixels * (100 - threshold) / 100) are removed, in exact arithmetic: 16,384 at 90 keeps 14,746,
    and those at 90 keep 13,272. (In floating point, int(10 * (1 - 0.9)) is 0.)
    """
    removed = Fraction(pixels) * (100 - Fraction(str(threshold))) / 100
    return pixels - removed.__floor__()


@dataclass(frozen=True)
class Schedule:
    """How much each iteration keeps; keys of the section `reduction`. Iteration 1 keeps all.

    Attributes:
        schedule: what iteration k > 1 trains on, p the threshold:
            compounding: p per cent of what iteration k-1 kept.
            constant: p per cent of the image.
            additive: p + step * (k - 2) per cent of the image, at most all of it.
        step: percentage points.
        threshold: per cent, as written in the configuration (kept exact).
        intact_iteration: the iteration that trains on intact images again, the last one; None for none.
    """

    schedule: str
    step: float
    threshold: str
    intact_iteration: int | None = None

    def count(self, pixels: int, iteration: int) -> int:
        """Return how many of an image's `pixels` an iteration trains on."""
        if iteration in (1, self.intact_iteration):
            return pixels
        if self.schedule == "compounding":
            return kept_count(self.count(pixels, iteration - 1), self.threshold)
        if self.schedule == "constant":
            return kept_count(pixels, self.threshold)
        share = Fraction(self.threshold) + Fraction(str(self.step)) * (iteration - 2)
        return kept_count(pixels, min(share, Fraction(100)))

    def next_masks(self, scores: np.ndarray, last: np.ndarray, iteration: int) -> np.ndarray:
        """Return the masks that `iteration` trains on.

        Args:
            scores: float32 (N, H, W), by the model of the iteration before.
            last: bool (N, H, W), its masks.

        Returns:
            bool (N, H, W); a subset of `last` if the schedule compounds, but for the intact iteration.

        Raises:
            InputError, ValueError: see `shrink_mask`.
        """
        is_nested = self.schedule == "compounding" and iteration != self.intact_iteration
        candidates = last if is_nested else np.ones_like(last)
        return shrink_mask(candidates, scores, self.count(last[0].size, iteration))


def shrink_mask(kept: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """Keep the `count` highest-scoring of the pixels kept so far, in each image.

    Args:
        kept: bool (N, P) or (N, H, W), the same number of True in every image.
        scores: float32, of the same shape; equal scores are kept in order of pixel index.
        count: pixels to keep in every image.

    Returns:
        bool, of the same shape, with exactly `count` True per image, a subset of `kept`.

    Raises:
        InputError: a score is NaN.
        ValueError: the images of `kept` differ in their number, or `count` exceeds it.
    """
    shape = kept.shape
    kept, scores = kept.reshape(len(kept), -1), scores.reshape(len(scores), -1)
    totals = {int(np.count_nonzero(row)) for row in kept}
    if len(totals) > 1 or min(totals) < count:
        raise ValueError(f"cannot keep {count} of {sorted(totals)} pixels")
    if np.isnan(scores.max()):
        raise InputError("saliency holds a score that is not a number")
    if count in (0, *totals):
        return (kept.copy() if count else np.zeros_like(kept)).reshape(shape)
    shrunk = np.empty_like(kept)
    for one, before, row in zip(shrunk, kept, scores, strict=True):  # an image at a time: it stays in the cache
        _keep_highest(row, before, count, out=one)
    return shrunk.reshape(shape)


def _keep_highest(scores: np.ndarray, kept: np.ndarray, count: int, out: np.ndarray) -> None:
    """Write into `out` which pixels (P,) are the `count` highest-scoring of those `kept`."""
    # Removed pixels score -inf. Arithmetic is vectorised; np.where or boolean indices take three times as long.
    highest = kept.astype(np.float32)  # +inf where kept, -inf elsewhere
    highest -= np.float32(0.5)
    highest *= np.float32(np.inf)
    candidates = np.minimum(scores, highest, out=highest)
    place = len(candidates) - count
    cut = np.partition(candidates, place)[place]  # the count-th highest score
    np.greater_equal(candidates, cut, out=out)
    if np.count_nonzero(out) > count:  # more pixels have this score than may stay
        np.greater(candidates, cut, out=out)
        tied = np.flatnonzero((candidates == cut) & kept)
        out[tied[: count - np.count_nonzero(out)]] = True
