"""What a result belongs to: an arm at a threshold with a seed."""

from typing import NamedTuple


class Chain(NamedTuple):
    """The models of iterations 1..K, each made from the one before.

    Attributes:
        arm: its name in the configuration.
        threshold: per cent of the pixels kept at each reduction, as written there.
        seed: of initial weights, order of images and random draws.
    """

    arm: str
    threshold: str
    seed: int
