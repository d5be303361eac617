"""What made the models of a chain, as `counts.h5` tells it: seeds of an arm that were made otherwise are no repeats."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import open_hdf5, well_formed


def require_one_origin(counts: Sequence[str | Path], chains: Sequence[Sequence[str]]) -> None:
    """Refuse to join chains of one arm and threshold that were trained with other settings or other code.

    Args:
        counts: `counts.h5` of each chain.
        chains: (arm, threshold, seed) of each.

    Raises:
        InputError: names two files and what differs.
    """
    first: dict[tuple[str, str], tuple[str | Path, list[Any]]] = {}
    for path, (arm, threshold, _) in zip(counts, chains, strict=True):
        with open_hdf5(path, "counts") as file, well_formed(path):
            origins = [json.loads(text) for text in file.attrs.get("origins", ())]
        other, expected = first.setdefault((arm, threshold), (path, origins))
        if origins != expected:
            raise InputError(
                f"{path}: its models were not made as those of {other}: {_first_difference(origins, expected)}; "
                "delete the older of the two with its models and run again"
            )


def _first_difference(found: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]) -> str:
    ours, theirs = ({f"{place}{name}": value for place, name, value in _settings(each)} for each in (found, expected))
    name = next(key for key in [*theirs, *ours] if ours.get(key) != theirs.get(key))
    return f"{name} is {ours.get(name)!r} here, {theirs.get(name)!r} there"


def _settings(origins: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    """Yield (which iterations, dotted name, value) of all that made the models of a chain."""
    for number, origin in enumerate(origins):
        place = "later iterations: " if number else ""
        yield place, "code", origin["code"]
        for section, settings in origin["settings"].items():
            named = settings.items() if isinstance(settings, Mapping) else [("", settings)]
            yield from ((place, f"{section}.{key}".removesuffix("."), value) for key, value in named)
