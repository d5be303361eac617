"""Gather the small tables of all chains into one each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from spatial_reduction.runtime.files import require_whole_table, written_whole
from spatial_reduction.runtime.log import say

CHAIN = ["arm", "threshold", "seed"]
LABELS = [*CHAIN, "iteration"]


def collect_metrics(paths: Sequence[str | Path], output: str | Path) -> None:
    """Write one tidy table: arm, threshold, seed, iteration, split, protocol, measure, class, value."""
    _write(pd.concat([_read(path, {"threshold": str}) for path in paths]), output)


def collect_histories(paths: Sequence[str | Path], labels: Sequence[Sequence[str | int]], output: str | Path) -> None:
    """Write the learning curves of all iterations; counts run on from iteration to iteration of a chain."""
    _write(_labelled(paths, labels), output)


def collect_kept_pixels(paths: Sequence[str | Path], labels: Sequence[Sequence[str | int]], output: str | Path) -> None:
    """Write what each mask keeps: arm, threshold, seed, iteration, measure, class, value.

    Values are in per cent; `components` is the mean number of connected components of an image's kept pixels.
    """
    columns = [*LABELS, "measure", "class", "value"]
    _write(_labelled(paths, labels) if paths else pd.DataFrame(columns=columns), output)


def read_contrasts(path: str | Path) -> pd.DataFrame:
    """Return `contrasts.csv`, thresholds as text; the decision of a contrast that decides nothing is ""."""
    table = _read(path, {"threshold": str, "comparator_threshold": str, "decision": str})
    return table.fillna({"decision": ""}).astype({"less_to_lose": bool})


def last_test_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `metrics.csv` of each chain's last iteration on the test images, all protocols."""
    test = metrics[metrics["split"] == "test"]
    return test[test["iteration"] == test.groupby(CHAIN)["iteration"].transform("max")]


def removed_shares(kept_pixels: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return the per cent of the pixels that (arm, threshold) lacks in its last iteration, if it removes any.

    Args:
        kept_pixels: `kept_pixels.csv`.
    """
    kept = kept_pixels[kept_pixels["measure"] == "kept_share"].sort_values("iteration")
    last = kept.groupby(["arm", "threshold"], sort=False)["value"].last()
    return {place: 100 - value for place, value in last.items() if value < 100}


def _read(path: str | Path, types: Mapping[str, type]) -> pd.DataFrame:
    require_whole_table(path)
    return pd.read_csv(path, dtype=types)


def _labelled(paths: Sequence[str | Path], labels: Sequence[Sequence[str | int]]) -> pd.DataFrame:
    read = {path: _read(path, {}) for path in dict.fromkeys(paths)}
    tables = []
    for path, values in zip(paths, labels, strict=True):
        table = read[path].copy()
        for position, (name, value) in enumerate(zip(LABELS, values, strict=True)):
            table.insert(position, name, value)
        tables.append(table)
    return pd.concat(tables)


def _write(table: pd.DataFrame, output: str | Path) -> None:
    with written_whole(output) as partial:
        table.to_csv(partial, index=False)
    say(f"{output}: {len(table)} rows")
