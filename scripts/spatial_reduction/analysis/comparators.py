"""Which arm at which threshold is compared with which."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Setting(NamedTuple):
    """What is compared: an arm at a threshold, as written in the configuration."""

    arm: str
    threshold: str


def pair_settings(
    settings: Sequence[Setting], comparators: Sequence[str], controls: Sequence[str] = (), method: str | None = None
) -> Iterator[tuple[Setting, Setting]]:
    """Yield every (arm, threshold) with the (comparator, threshold) that it is compared with.

    A comparator of one threshold stands beside all; one of several beside the same threshold only. A control is
    compared with the method alone, and at the same threshold only: else both what is kept and how much would differ.
    """
    for comparator in dict.fromkeys([*comparators, *controls]):
        own = [threshold for arm, threshold in settings if arm == comparator]
        stands_beside_all = len(own) == 1 and comparator not in controls
        for arm, threshold in settings:
            is_asked = comparator in comparators or arm == method
            if is_asked and arm != comparator and (stands_beside_all or threshold in own):
                yield Setting(arm, threshold), Setting(comparator, own[0] if stands_beside_all else threshold)
