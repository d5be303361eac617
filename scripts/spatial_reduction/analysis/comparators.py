"""Which arm at which threshold is compared with which."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

FULL = "100"  # the threshold of an arm that keeps all pixels, or of one iteration


class Setting(NamedTuple):
    """What is compared: an arm at a threshold, as written in the configuration."""

    arm: str
    threshold: str


def pair_settings(
    settings: Sequence[Setting], comparators: Sequence[str], controls: Sequence[str] = (), method: str | None = None
) -> Iterator[tuple[Setting, Setting]]:
    """Yield every (arm, threshold) with the (comparator, threshold) that it is compared with.

    A comparator that keeps all pixels stands beside all; one that removes some beside the same threshold only, as else
    both what is kept and how much would differ. A control is compared with the method alone.
    """
    for comparator in dict.fromkeys([*comparators, *controls]):
        own = [threshold for arm, threshold in settings if arm == comparator]
        for arm, threshold in settings:
            is_asked = comparator in comparators or arm == method
            if is_asked and arm != comparator and (own == [FULL] or threshold in own):
                yield Setting(arm, threshold), Setting(comparator, FULL if own == [FULL] else threshold)
