"""Pair every image with another one."""

from collections.abc import Sequence

import numpy as np


def draw_derangement(count: int, seed: int | Sequence[int]) -> np.ndarray:
    """Return the position of another image for each of `count` images, int64 (count,): a permutation of one cycle.

    Images are shuffled and each is paired with the next, the last with the first (Sattolo 1986): every image is
    chosen once, and never for itself unless it is the only one.
    """
    cycle = np.random.default_rng(seed).permutation(count)
    others = np.empty(count, dtype=np.int64)
    others[cycle] = np.roll(cycle, -1)
    return others
