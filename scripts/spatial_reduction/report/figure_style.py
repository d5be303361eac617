"""What all figures share: the look of the arms, panels, axes, how a figure is written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spatial_reduction.analysis.measures import MEASURES, measured_group
from spatial_reduction.runtime.files import written_whole

matplotlib.use("Agg")

MARKERS = "osD^vPX*<>hp"
FULL = "100"  # the threshold of arms that reduce nothing
LABEL = 50  # characters of a line beside an axis
LAST_ONLY = "; objects are measured after the last iteration alone"

sns.set_theme(context="paper", style="ticks", palette="colorblind", rc={"axes.grid": True, "grid.alpha": 0.3})


def read_metrics(path: str | Path, measure: str, class_group: str) -> pd.DataFrame:
    """Return arm, threshold, seed, iteration, value (as printed) of one summary measure on intact test images.

    Measures of objects are there of each chain's last iteration alone.
    """
    table = pd.read_csv(path, dtype={"threshold": str})
    is_wanted = (table["measure"] == measure) & (table["class"] == measured_group(measure, class_group))
    table = table[is_wanted & (table["split"] == "test") & (table["protocol"] == "intact")]
    return table.assign(value=MEASURES[measure].scale * table["value"])[
        ["arm", "threshold", "seed", "iteration", "value"]
    ]


def arm_styles(arms: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return colour, marker and line of each arm, by its place among all arms: the same in every figure."""
    colours, lines = sns.color_palette("colorblind", 10), ["-", "--", "-.", ":"]
    return {
        arm: {
            "color": colours[index % len(colours)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": lines[index % len(lines)],
        }
        for index, arm in enumerate(arms)
    }


def save_figure(figure: Figure, outputs: Sequence[str | Path]) -> None:
    """Write the figure once per path, in the format of its suffix, without a date: equal data, equal bytes."""
    for path in outputs:
        suffix = Path(path).suffix[1:]
        dateless: Mapping[str, None] = {"CreationDate": None} if suffix == "pdf" else {}
        with written_whole(path) as partial:
            figure.savefig(partial, format=suffix, dpi=160, bbox_inches="tight", metadata=dateless)
    plt.close(figure)


def list_baselines(table: pd.DataFrame) -> list[str]:
    """Return the arms that never remove a pixel."""
    return [arm for arm, runs in table.groupby("arm", sort=False) if set(runs["threshold"]) == {FULL}]


def list_thresholds(table: pd.DataFrame) -> list[str]:
    """Return the thresholds of the arms that remove pixels, from the most kept to the least; 100 if there is none."""
    values = set(table[~table["arm"].isin(list_baselines(table))]["threshold"]) or {FULL}
    return sorted(values, key=float, reverse=True)


def at_threshold(threshold: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return what belongs into the panel of a threshold: its runs, and those of the arms that never remove a pixel."""
    return table[(table["threshold"] == threshold) | table["arm"].isin(list_baselines(table))]


def make_panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with `count` panels, three beside each other."""
    columns = min(count, 3)
    rows = -(-count // columns)
    size = (max(6.4, 3.4 * columns), 0.6 + 3.0 * rows)
    figure, panels = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[count:]:
        axes.set_visible(False)
    return figure, panels.flat


def finish_figure(figure: Figure, outputs: Sequence[str | Path], table: pd.DataFrame, note: str) -> None:
    """Add one legend and a line that says what is drawn and of how many seeds; save.

    Args:
        table: what is drawn, with a column `seed`, or `n` if it is of means over seeds.
        note: what the marks and lines are.
    """
    entries: dict[str, object] = {}
    for axes in figure.axes:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    if entries:
        rows = -(-len(entries) // max(3, int(figure.get_figwidth() / 1.2)))
        look = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "frameon": False}
        figure.legend(entries.values(), entries.keys(), ncols=-(-len(entries) // rows), **look)
    figure.text(0.01, 0.0, f"{name_seeds(table)}. {note[0].upper()}{note[1:]}.", fontsize=7, color="0.35")
    sns.despine(figure)
    save_figure(figure, outputs)


def name_seeds(table: pd.DataFrame) -> str:
    """Say how many seeds the rows of a table are of."""
    if "seed" not in table:
        return f"n = {table['n'].max()} seeds"
    seeds = sorted(set(table["seed"]))
    named = ", ".join(map(str, seeds)) if len(seeds) <= 12 else f"{seeds[0]} to {seeds[-1]}"
    return f"n = {len(seeds)} seeds ({named})"
