"""Sides that a network can take: multiples of its stride or period."""


def round_up(side: int, unit: int) -> int:
    """Return the smallest multiple of `unit` that is at least `side`."""
    return -(-side // unit) * unit
