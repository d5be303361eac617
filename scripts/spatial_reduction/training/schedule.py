"""Learning rates that depend on the position in an iteration alone, so that a training can resume from any epoch."""

import math
from collections.abc import Mapping
from typing import Any

START, END = 25, 1e4  # one cycle begins at 1/25 of the highest rate and ends at 1/10,000 of that, as PyTorch's does


def rates_of_epoch(
    schedule: Mapping[str, Any], learning_rate: float, epoch: int, epochs: int, steps: int
) -> list[float]:
    """Return the learning rate of each step of an epoch.

    Args:
        schedule: the section `training.schedule`. `kind`: `plateau`, the same rate all through the epoch; `cosine` or
            `one_cycle`, see `cosine_rate` and `one_cycle_rate`, with `warm_up` in per cent of all steps.
        learning_rate: the highest rate, or the one that `plateau` has come to.
        epoch, epochs: from 1 on, and how many there are in the iteration.
        steps: of one epoch.
    """
    if schedule["kind"] == "plateau":
        return [learning_rate] * steps
    rate_at = {"cosine": cosine_rate, "one_cycle": one_cycle_rate}[schedule["kind"]]
    first, share = (epoch - 1) * steps, schedule["warm_up"] / 100
    return [learning_rate * rate_at(step, epochs * steps, share) for step in range(first, first + steps)]


def cosine_rate(step: int, steps: int, warm_up: float) -> float:
    """Return the share of the highest rate: rising linearly over the share `warm_up` of the steps, then half a cosine.

    The first step has 1 / (steps of the rise), the last one nearly 0 (Loshchilov and Hutter 2017, arXiv 1608.03983,
    equation 5, without restarts).
    """
    rise = round(warm_up * steps)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


def one_cycle_rate(step: int, steps: int, warm_up: float) -> float:
    """Return the share of the highest rate: a rise by half a cosine over the share `warm_up`, then a fall by another.

    Smith and Topin 2018 (arXiv 1708.07120) in two phases, as PyTorch's OneCycleLR; momentum and betas stay as they are.
    """
    peak = warm_up * steps - 1
    if step <= peak:
        return _between(1 / START, 1, step / peak if peak else 1)
    return _between(1, 1 / START / END, (step - peak) / (steps - 1 - peak))


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))
