"""What made the files that are joined, as the files record it: a table joins only files that were made as asked for.

Snakemake's records say the same, but they may be lost, or overruled (`--touch`, `--rerun-triggers mtime`).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_reduction.analysis.counts_file import read_origin
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import file_digest, table_digest, written_whole

ABSENT = "nothing"
LONGEST = 200  # characters of a value in a message


class Origins:
    """What made the files of some chains; they are all of one data set and were made as asked for.

    Args:
        counts: `counts.h5` of each chain.
        chains: (arm, threshold, seed) of each.
        asked: {arm: {rule: its params}}, of the rules that make the files of a chain.
        dataset: the data set file.

    Raises:
        InputError: names a file of counts that was made otherwise, what differs, and both values.
    """

    def __init__(
        self,
        counts: Sequence[str | Path],
        chains: Sequence[Sequence[str]],
        asked: Mapping[str, Mapping[str, Mapping[str, Any]]],
        dataset: str | Path,
    ) -> None:
        data = Dataset.open(dataset).digest
        self.told: dict[tuple[str, ...], tuple[str | Path, dict[str, Any]]] = {}
        for path, (arm, threshold, seed) in zip(counts, chains, strict=True):
            told = read_origin(path)
            self.told[arm, threshold, seed] = path, told
            difference = next(_differences(told, asked[arm], {"threshold": threshold, "seed": seed}, data), None)
            if difference:
                way_out = "ask for that again, or delete its models and run again"
                raise InputError(f"{path}: was not made as asked: {difference}; {way_out}")

    def require_tables(self, name: str, paths: Sequence[str | Path], places: Sequence[Sequence[str | int]]) -> None:
        """Refuse a file that is not the one that was written with the models of its chain.

        Args:
            name: `metrics`, `history`, `kept_pixels` or `validation_counts`.
            places: (arm, threshold, seed) of each file, and the iteration, but for `metrics`.

        Raises:
            InputError: names the file.
        """
        digests: dict[str | Path, str] = {}
        for path, (arm, threshold, seed, *iteration) in zip(paths, places, strict=True):
            counts, told = self.told[arm, threshold, seed]
            expected = told["files"][iteration[0] - 1][name] if iteration else told[name]
            if path not in digests:
                digests[path] = file_digest(path) if name == "validation_counts" else table_digest(path)
            if digests[path] != expected:
                raise InputError(
                    f"{path}: is not the file that was written with the models of {counts}; delete both and run again"
                )


def write_origin(path: str | Path, asked: Mapping[str, Any], tables: Iterable[str | Path]) -> None:
    """Write what made tables of the whole experiment, JSON {asked, tables: {file name: digest}}.

    Args:
        asked: params of the rule that made them.
    """
    told = {"asked": asked, "tables": {Path(table).name: table_digest(table) for table in tables}}
    with written_whole(path) as partial:
        partial.write_text(json.dumps(told, indent=1), encoding="utf-8")


def require_origins(
    origins: Iterable[str | Path], asked: Mapping[str, Mapping[str, Any]], tables: Iterable[str | Path]
) -> None:
    """Refuse a table of the whole experiment that was made otherwise than asked for, or changed since.

    Args:
        origins: files of `write_origin`, named after the rules that wrote them.
        asked: {rule: its params}.
        tables: that are to be read.

    Raises:
        InputError: names the table, what differs, and both values.
    """
    paths = {Path(table).name: table for table in tables}
    for origin in origins:
        try:
            told = json.loads(Path(origin).read_text(encoding="utf-8"))
            written, difference = told["tables"], next(_unlike(told["asked"], asked[Path(origin).stem]), None)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{origin}: is damaged; delete it and run again") from error
        for name in [name for name in paths if name in written]:
            if difference:
                raise InputError(f"{paths[name]}: was not made as asked: {difference}; delete it and run again")
            if table_digest(paths[name]) != written[name]:
                raise InputError(f"{paths[name]}: is not the table that was written; delete it and run again")


def _differences(
    told: Mapping[str, Any], asked: Mapping[str, Mapping[str, Any]], chain: Mapping[str, str], data: str
) -> Iterator[str]:
    """Yield, in words, how what made the files of a chain differs from what its rules are asked for."""
    first, *later = told.get("trainings", ()) or [{}]
    single_pass = {"train_model": {**asked["train_single_pass"], "seed": chain["seed"]}}
    steps = {
        rule: {**asked[rule], **chain} for rule in ("compute_saliency", "shrink_mask", "train_model") if rule in asked
    }
    places = [
        ("", told, {"evaluate_model": {**asked["evaluate_model"], **chain}}),
        ("iteration 1: ", first, single_pass),
    ]
    places += [("later iterations: ", each, steps) for each in (later or [{}] if steps else later)]
    for place, found, wanted in places:
        yield from _unlike(found, {"data": data, **wanted}, place)


def _unlike(found: Mapping[str, Any], wanted: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Yield, in words, which of the wanted settings are others than those found."""
    there, here = _flat(found), _flat(wanted)
    for name in here:
        if there.get(name, ABSENT) != here[name]:
            yield f"{place}{name} was {_short(there.get(name, ABSENT))}, {_short(here[name])} is asked for"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _flat(settings: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Return {dotted name: value} of nested settings, values as JSON keeps them."""
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(settings)).items():
        flat |= _flat(value, f"{place}{name}.") if isinstance(value, dict) and value else {f"{place}{name}": value}
    return flat
