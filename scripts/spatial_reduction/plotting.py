"""The figures, each as PNG and PDF: one function per figure, from the tables alone. No torch.

`arms` is every arm of the experiment in order, so that an arm looks the same in every figure.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spatial_reduction.storage import written_whole
from spatial_reduction.wording import MEASURES, measured_group

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
    table = table[is_wanted & (table["split"] == "test") & (table["protocol"] == "T1")]
    return table.assign(value=MEASURES[measure].scale * table["value"])[
        ["arm", "threshold", "seed", "iteration", "value"]
    ]


def plot_thresholds(
    metrics: str | Path, measure: str, class_group: str, arms: Sequence[str], outputs: Sequence[str | Path]
) -> None:
    """Final test score against threshold; arms that reduce nothing as lines with the range of their seeds."""
    table = _last(read_metrics(metrics, measure, class_group))
    styles, thresholds = arm_styles(arms), list_thresholds(table)
    figure, axes = plt.subplots(figsize=(7.2, 4.2))
    baselines = _baselines(table)
    for arm in baselines:
        _draw_baseline(axes, table[table["arm"] == arm]["value"], arm, styles)
    curves = [arm for arm in table["arm"].unique() if arm not in baselines]
    for position, arm in enumerate(curves):
        runs = table[table["arm"] == arm]
        offset = 0.4 * ((position + 0.5) / len(curves) - 0.5)
        x = np.array([thresholds.index(each) for each in runs["threshold"]]) + offset
        axes.scatter(
            x, runs["value"], s=16, alpha=0.55, color=styles[arm]["color"], marker=styles[arm]["marker"], linewidths=0
        )
        means = runs.groupby("threshold")["value"].mean()
        at = [index + offset for index, each in enumerate(thresholds) if each in means]
        axes.plot(at, [means[each] for each in thresholds if each in means], label=arm, **styles[arm])
    axes.set_xticks(range(len(thresholds)), [f"top {each} %" for each in thresholds])
    axes.set_xlim(-0.5, len(thresholds) - 0.5)
    axes.set_xlabel("pixels kept at each reduction")
    axes.set_ylabel(_score_label(measure, " after the last iteration"))
    finish_figure(figure, outputs, table, "small points: seeds; large: their mean; bands: range of the seeds")


def plot_iterations(
    metrics: str | Path, measure: str, class_group: str, arms: Sequence[str], outputs: Sequence[str | Path]
) -> None:
    """Test score against iteration, a panel per threshold; arms trained once as lines."""
    table = read_metrics(metrics, measure, class_group)
    styles, thresholds = arm_styles(arms), list_thresholds(table)
    figure, panels = _panels(len(thresholds))
    last = table["iteration"].max()
    for axes, threshold in zip(panels, thresholds, strict=False):
        for arm in styles:
            runs = at_threshold(threshold, table[table["arm"] == arm])
            if runs["iteration"].max() == 1:
                _draw_baseline(axes, runs["value"], arm, styles)
            elif len(runs):
                axes.scatter(
                    runs["iteration"], runs["value"], s=10, alpha=0.4, color=styles[arm]["color"], linewidths=0
                )
                means = runs.groupby("iteration")["value"].mean()
                axes.plot(means.index, means, label=arm, **styles[arm])
        axes.set_title(f"top {threshold} %")
        axes.set_xticks(range(1, last + 1))
        axes.set_xlim(0.7, last + 0.5)  # room for the points at the right edge
        axes.set_xlabel("iteration")
    panels[0].set_ylabel(_score_label(measure))
    note = "small points: seeds; lines: their mean; bands: range of the seeds"
    finish_figure(figure, outputs, table, note + LAST_ONLY * MEASURES[measure].is_of_objects)


def plot_learning_curves(history: str | Path, arms: Sequence[str], outputs: Sequence[str | Path]) -> None:
    """Validation mean IoU after every epoch against cumulative optimiser steps, a panel per threshold."""
    table = pd.read_csv(history, dtype={"threshold": str})
    styles, thresholds = arm_styles(arms), list_thresholds(table)
    figure, panels = _panels(len(thresholds))
    for axes, threshold in zip(panels, thresholds, strict=False):
        shown = at_threshold(threshold, table)
        for arm, style in styles.items():
            runs = shown[shown["arm"] == arm]
            look = {"color": style["color"], "linestyle": style["linestyle"]}
            for _, run in runs.groupby("seed"):
                axes.plot(run["cumulative_steps"], 100 * run["validation_mean_iou"], alpha=0.2, linewidth=0.7, **look)
            means = runs.groupby("cumulative_steps")["validation_mean_iou"].mean()
            axes.plot(means.index, 100 * means, label=arm, linewidth=1.6, **look)
        ends = (
            shown[shown["arm"].isin(shown[shown["iteration"] > 1]["arm"])]
            .groupby("iteration")["cumulative_steps"]
            .max()
        )
        for step in ends[:-1]:
            axes.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
        axes.set_title(f"top {threshold} %")
        axes.set_xlabel("cumulative optimiser steps")
    panels[0].set_ylabel("validation mean IoU (%)")
    finish_figure(figure, outputs, table, "thin: seeds; thick: their mean; dotted: a new iteration begins")


def plot_kept_pixels(kept_pixels: str | Path, arms: Sequence[str], outputs: Sequence[str | Path]) -> None:
    """Kept share, and recall of each class among the kept pixels, against iteration; a row per threshold."""
    table = pd.read_csv(kept_pixels, dtype={"threshold": str})
    styles, thresholds = arm_styles(arms), list_thresholds(table)
    classes = list(dict.fromkeys(table[table["measure"] == "recall"]["class"]))
    columns = [("kept_share", "all", "all pixels")] + [("recall", name, f"of class {name}") for name in classes]
    rows = max(1, len(thresholds))
    size = (2.1 * len(columns), 1.0 + 1.9 * rows)
    figure, panels = plt.subplots(rows, len(columns), figsize=size, sharex=True, sharey=True, squeeze=False)
    for row, threshold in zip(panels, thresholds, strict=False):
        for axes, (measure, name, title) in zip(row, columns, strict=True):
            shown = table[(table["measure"] == measure) & (table["class"] == name) & (table["threshold"] == threshold)]
            for arm, runs in shown.groupby("arm", sort=False):
                for _, run in runs.groupby("seed"):
                    axes.plot(
                        [1, *run["iteration"]], [100, *run["value"]], color=styles[arm]["color"], alpha=0.3, lw=0.7
                    )
                means = runs.groupby("iteration")["value"].mean()
                axes.plot([1, *means.index], [100, *means], label=arm, **styles[arm])
            axes.set_title(title if threshold == thresholds[0] else "")
        row[0].set_ylabel(f"top {threshold} %\nkept (%)")
    for axes in panels[-1]:
        axes.set_xlabel("iteration")
        axes.set_xticks(range(1, int(table["iteration"].max() if len(table) else 1) + 1))
    finish_figure(
        figure,
        outputs,
        table,
        "share of the training pixels that an iteration trains on; thin: seeds, thick: their mean",
    )


def plot_cost(
    metrics: str | Path,
    history: str | Path,
    measure: str,
    class_group: str,
    arms: Sequence[str],
    outputs: Sequence[str | Path],
) -> None:
    """Final test score against the seconds that training took, whole chains, one point per run."""
    keys = ["arm", "threshold", "seed"]
    curves = pd.read_csv(history, dtype={"threshold": str})
    seconds = curves.groupby(keys)["cumulative_seconds"].max().rename("seconds").reset_index()
    table = _last(read_metrics(metrics, measure, class_group)).merge(seconds, on=keys, validate="one_to_one")
    figure, axes = plt.subplots(figsize=(7.2, 4.2))
    for arm, style in arm_styles(arms).items():
        runs = table[table["arm"] == arm]
        axes.scatter(
            runs["seconds"], runs["value"], s=32, alpha=0.8, label=arm, color=style["color"], marker=style["marker"]
        )
    axes.set_xlim(left=0)
    axes.set_xlabel("training time of the whole chain (s, all its iterations)")
    axes.set_ylabel(_score_label(measure, " after the last iteration"))
    finish_figure(figure, outputs, table, "one point per run; a removed pixel costs as much as a kept one")


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


def _baselines(table: pd.DataFrame) -> list[str]:
    """Return the arms that never remove a pixel."""
    return [arm for arm, runs in table.groupby("arm", sort=False) if set(runs["threshold"]) == {FULL}]


def list_thresholds(table: pd.DataFrame) -> list[str]:
    """Return the thresholds of the arms that remove pixels, from the most kept to the least; 100 if there is none."""
    values = set(table[~table["arm"].isin(_baselines(table))]["threshold"]) or {FULL}
    return sorted(values, key=float, reverse=True)


def at_threshold(threshold: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return what belongs into the panel of a threshold: its runs, and those of the arms that never remove a pixel."""
    return table[(table["threshold"] == threshold) | table["arm"].isin(_baselines(table))]


def _score_label(measure: str, when: str = "") -> str:
    about = MEASURES[measure]
    return textwrap.fill(f"test {about.name}{when} ({about.score_unit})", LABEL)


def _last(table: pd.DataFrame) -> pd.DataFrame:
    last = table.groupby(["arm", "threshold", "seed"])["iteration"].transform("max")
    return table[table["iteration"] == last]


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    columns = min(count, 3)
    rows = -(-count // columns)
    size = (max(6.4, 3.4 * columns), 0.6 + 3.0 * rows)
    figure, panels = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[count:]:
        axes.set_visible(False)
    return figure, panels.flat


def _draw_baseline(axes: Axes, values: pd.Series, arm: str, styles: Mapping[str, Mapping[str, object]]) -> None:
    """Draw an arm that has one score per seed, whatever x is: its mean, range and every seed at the right edge."""
    colour, line = styles[arm]["color"], styles[arm]["linestyle"]
    axes.axhspan(values.min(), values.max(), color=colour, alpha=0.12, linewidth=0)
    axes.axhline(values.mean(), color=colour, linestyle=line, linewidth=1.4, label=arm)
    edge = np.full(len(values), 0.985)
    axes.scatter(
        edge, values, s=14, color=colour, marker=styles[arm]["marker"], transform=axes.get_yaxis_transform(), alpha=0.7
    )


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
    figure.text(0.01, 0.0, f"{_name_seeds(table)}. {note[0].upper()}{note[1:]}.", fontsize=7, color="0.35")
    sns.despine(figure)
    save_figure(figure, outputs)


def _name_seeds(table: pd.DataFrame) -> str:
    if "seed" not in table:
        return f"n = {table['n'].max()} seeds"
    seeds = sorted(set(table["seed"]))
    named = ", ".join(map(str, seeds)) if len(seeds) <= 12 else f"{seeds[0]} to {seeds[-1]}"
    return f"n = {len(seeds)} seeds ({named})"
