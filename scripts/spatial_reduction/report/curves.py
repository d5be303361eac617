"""The figures, each as PNG and PDF: one function per figure, from the tables alone. No torch.

`arms` is every arm of the experiment in order, so that an arm looks the same in every figure.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from spatial_reduction.analysis.measures import MEASURES
from spatial_reduction.report.figure_style import (
    LABEL,
    LAST_ONLY,
    arm_styles,
    at_threshold,
    finish_figure,
    list_baselines,
    list_thresholds,
    make_panels,
    read_metrics,
)


def plot_thresholds(
    metrics: str | Path, measure: str, class_group: str, arms: Sequence[str], outputs: Sequence[str | Path]
) -> None:
    """Final test score against threshold; arms that reduce nothing as lines with the range of their seeds."""
    table = _last(read_metrics(metrics, measure, class_group))
    styles, thresholds = arm_styles(arms), list_thresholds(table)
    figure, axes = plt.subplots(figsize=(7.2, 4.2))
    baselines = list_baselines(table)
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
    figure, panels = make_panels(len(thresholds))
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
    figure, panels = make_panels(len(thresholds))
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


def _score_label(measure: str, when: str = "") -> str:
    about = MEASURES[measure]
    return textwrap.fill(f"test {about.name}{when} ({about.score_unit})", LABEL)


def _last(table: pd.DataFrame) -> pd.DataFrame:
    last = table.groupby(["arm", "threshold", "seed"])["iteration"].transform("max")
    return table[table["iteration"] == last]


def _draw_baseline(axes: Axes, values: pd.Series, arm: str, styles: Mapping[str, Mapping[str, object]]) -> None:
    """Draw an arm that has one score per seed, whatever x is: its mean, range and every seed at the right edge."""
    colour, line = styles[arm]["color"], styles[arm]["linestyle"]
    axes.axhspan(values.min(), values.max(), color=colour, alpha=0.12, linewidth=0)
    axes.axhline(values.mean(), color=colour, linestyle=line, linewidth=1.4, label=arm)
    edge = np.full(len(values), 0.985)
    axes.scatter(
        edge, values, s=14, color=colour, marker=styles[arm]["marker"], transform=axes.get_yaxis_transform(), alpha=0.7
    )
