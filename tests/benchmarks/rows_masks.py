"""Rows: the ranking of pixels beside the plain loop's."""

import time

import numpy as np
import torch
from machine import memory_copy
from measuring import Row, alternate, divide, spread
from plain_loop import shrink_masks

from spatial_reduction.masks.ranking import kept_count, shrink_mask

IMAGES, SIDE = 64, 128


def measure_masks(n: int) -> list[Row]:
    """Compare the second reduction to the top 90 % of given scores, arrays in memory, one thread."""
    scores = np.random.default_rng(0).standard_normal((IMAGES, SIDE, SIDE)).astype(np.float32)
    before = kept_count(SIDE**2, 90)
    kept = shrink_mask(np.ones(scores.shape, dtype=bool), scores, before)
    masks, values = torch.from_numpy(kept).float(), torch.from_numpy(scores)
    torch.set_num_threads(1)
    runs = {
        "ours": lambda: seconds_of(lambda: shrink_mask(kept, scores, kept_count(before, 90))),
        "plain": lambda: seconds_of(lambda: shrink_masks(masks, values, 0.9)),
        "copy": memory_copy,
    }
    found = alternate(runs, n)
    rates = [IMAGES / seconds for seconds in found["ours"]]
    shares = [100 * IMAGES * SIDE**2 * 4 / (a * b) for a, b in zip(found["ours"], found["copy"], strict=True)]
    limit = f"{spread(shares, 0)} % of copying the scores, {np.median(found['copy']) / 1e9:.1f} GB/s"
    name = f"mask alone, {SIDE}x{SIDE}, top 90 %, 1 thread: plain loop with kthvalue / ours"
    return [Row(name, rates, "images/s", divide(found["plain"], found["ours"]), ("at least", 10.0), limit)]


def seconds_of(run) -> float:
    """Return the wall time of one call."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
