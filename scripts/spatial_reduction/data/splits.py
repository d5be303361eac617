"""Divide pairs into training, validation and test: seeded, stratified, the same on every machine."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from spatial_reduction.data.layouts import read_lines
from spatial_reduction.data.pair import Pair
from spatial_reduction.runtime.errors import InputError

SPLITS = ("train", "validation", "test")
DRAWN = {"official": ("train", "validation"), "random": SPLITS}  # splits that a method draws apart, by chance

Drawn = TypeVar("Drawn", Pair, "_Stored")


def split_pairs(
    pairs: Sequence[Pair], split: Mapping[str, Any], twins: Sequence[Sequence[str]] = ()
) -> dict[str, list[Pair]]:
    """Return the pairs of each split as the section `dataset.split` of the configuration asks.

    Methods: `official` (the release's test set; `validation_share` per cent of its trainval), `random`
    (`validation_share` and `test_share` per cent of all), `ordered` (the same shares; the last pairs test, those before
    them validate) and `lists` (one file of names per split). Where pairs are drawn, those of a group of `twins` (names
    of pairs of the same image) are drawn as one.

    Raises:
        InputError: a split would be empty, or a listed name does not exist or stands in two lists.
    """
    method = split["method"]
    if method == "lists":
        parts = _listed(pairs, split["lists"])
    elif method == "official":
        trainval = [pair for pair in pairs if pair.official == "trainval"]
        train, validation = _draw(trainval, split["validation_share"], split["seed"], twins)
        parts = {"train": train, "validation": validation, "test": [p for p in pairs if p.official == "test"]}
    elif method == "ordered":
        shares = (Fraction(str(split[f"{name}_share"])) / 100 for name in ("validation", "test"))
        validating, testing = (int(len(pairs) * share) for share in shares)
        end = len(pairs) - testing
        cut = max(0, end - validating)
        parts = {"train": pairs[:cut], "validation": pairs[cut:end], "test": pairs[end:]}
    else:
        rest, test = _draw(pairs, split["test_share"], split["seed"], twins)
        validating = int(len(pairs) * Fraction(str(split["validation_share"])) / 100)
        train, validation = _draw(rest, Fraction(100 * validating, max(1, len(rest))), split["seed"] + 1, twins)
        parts = {"train": train, "validation": validation, "test": test}
    for name in SPLITS:
        if not parts[name]:
            alike = f"; {sum(map(len, twins))} of them are nearly identical and stay together" if twins else ""
            raise InputError(
                f"dataset.split: the {name} split of {len(pairs)} images is empty (method {method}{alike})"
            )
    return parts


def _draw(
    pairs: Sequence[Drawn], share: float | Fraction, seed: int | tuple[int, int], twins: Sequence[Sequence[str]]
) -> tuple[list[Drawn], list[Drawn]]:
    """Return (rest, drawn) as `draw_stratified` does, of one pair of each group of twins; the others follow it.

    Single pairs then change sides, the last ones by name, until as many are drawn as without twins.
    """
    names = {pair.name for pair in pairs}
    leaders = {}
    for group in twins:
        first, *others = sorted(names.intersection(group)) or [None]
        leaders |= dict.fromkeys(others, first)
    rest, drawn = draw_stratified([pair for pair in pairs if pair.name not in leaders], share, seed)
    is_drawn = {pair.name for pair in drawn}
    for pair in pairs:
        if pair.name in leaders:
            (drawn if leaders[pair.name] in is_drawn else rest).append(pair)
    missing = int(len(pairs) * Fraction(str(share)) / 100) - len(drawn)
    giving, taking = (rest, drawn) if missing > 0 else (drawn, rest)
    twin_names = {name for group in twins for name in group}
    for pair in [pair for pair in giving if pair.name not in twin_names][-abs(missing) :] if missing else []:
        giving.remove(pair)
        taking.append(pair)
    return sorted(rest, key=lambda pair: pair.name), sorted(drawn, key=lambda pair: pair.name)


def draw_stratified(
    pairs: Sequence[Drawn], share: float | Fraction, seed: int | tuple[int, int]
) -> tuple[list[Drawn], list[Drawn]]:
    """Draw `share` per cent of the pairs, evenly over the groups; return (rest, drawn), each sorted by name.

    The pairs are shuffled within their groups and laid end to end; every (100/share)-th is drawn. So every
    group gives its share to within one pair, and floor(n * share / 100) pairs are drawn in all.
    """
    order = np.random.default_rng(seed).permutation(len(pairs))
    laid = sorted((pairs[index] for index in order), key=lambda pair: pair.group)
    portion = Fraction(str(share)) / 100
    is_drawn = [int((i + 1) * portion) > int(i * portion) for i in range(len(laid))]
    rest = [pair for pair, drawn in zip(laid, is_drawn, strict=True) if not drawn]
    taken = [pair for pair, drawn in zip(laid, is_drawn, strict=True) if drawn]
    return sorted(rest, key=lambda pair: pair.name), sorted(taken, key=lambda pair: pair.name)


class _Stored(NamedTuple):
    """A pair that is in a data set file."""

    name: str
    group: int
    row: int


def redraw(
    names: Sequence[str],
    groups: Sequence[str],
    validating: int,
    seed: tuple[int, int],
    twins: Sequence[Sequence[str]] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the training and validation pairs again, stratified; `validating` of them validate.

    Args:
        names, groups: of the pairs, in the order of the file.
        seed: of the split, and of the chain.
        twins: groups of names that stay together.

    Returns:
        Their places, int64, in rising order: of the pairs that train, and of those that validate.
    """
    # In the order of their names, the same few of many small groups would give a pair in every draw.
    known = sorted(set(groups))
    order = dict(zip(known, np.random.default_rng(seed).permutation(len(known)).tolist(), strict=True))
    pairs = [_Stored(name, order[group], row) for row, (name, group) in enumerate(zip(names, groups, strict=True))]
    parts = _draw(pairs, Fraction(100 * validating, len(pairs)), seed, twins)
    train, validation = (np.array(sorted(pair.row for pair in part), dtype=np.int64) for part in parts)
    return train, validation


def _listed(pairs: Sequence[Pair], lists: Mapping[str, str]) -> dict[str, list[Pair]]:
    by_name = {pair.name: pair for pair in pairs}
    parts, seen = {}, set()
    for split in SPLITS:
        try:
            names = [name for name in read_lines(Path(lists[split])) if name]
        except InputError as error:
            raise InputError(f"dataset.split.lists.{split}: {error}") from error
        unknown = sorted(set(names) - by_name.keys())
        repeated = sorted(seen.intersection(names)) or sorted({name for name in names if names.count(name) > 1})
        if unknown or repeated:
            raise InputError(f"{lists[split]}: unknown names {unknown[:10]}, repeated names {repeated[:10]}")
        seen.update(names)
        parts[split] = [by_name[name] for name in sorted(names)]
    return parts
