"""The figures over thresholds, iterations and steps: one function per figure, from the tables alone. No torch.

`arms` is every arm of the experiment with its role, in order, so that an arm looks the same in every figure.
`references` is `references.csv`: where a predictor that sees no image has the measure, its score is a line.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spatial_reduction.analysis.measures import MEASURES
from spatial_reduction.report.figure_style import (
    LABEL,
    LAST_ONLY,
    Roles,
    arm_styles,
    at_threshold,
    display_name,
    draw_baseline,
    draw_prior,
    draw_seeds,
    finish_figure,
    list_baselines,
    list_thresholds,
    make_panels,
    mean_interval,
    read_metrics,
    read_prior,
)

FEWEST_JOINED = 3  # fewest means that a line joins: a line between two would suggest a trend


def plot_thresholds(
    metrics: str | Path,
    references: str | Path,
    measure: str,
    class_group: str,
    arms: Roles,
    outputs: Sequence[str | Path],
) -> Figure:
    """Draw the final test score against the threshold, to scale; arms that remove nothing as lines with intervals."""
    table = _last(read_metrics(metrics, measure, class_group))
    styles, thresholds = arm_styles(arms), list_thresholds(table)
    figure, axes = plt.subplots(figsize=(7.2, 4.2))
    draw_prior(axes, read_prior(references, "test", measure, class_group))
    baselines = list_baselines(table)
    for arm in (name for name in arms if name in baselines):
        draw_baseline(axes, table[table["arm"] == arm]["value"], arm, styles[arm])
    places = np.array([float(each) for each in thresholds])
    gap = np.abs(np.diff(places)).min() if len(places) > 1 else 10.0
    reducing = [name for name in arms if name in set(table["arm"]) - set(baselines)]
    for position, arm in enumerate(reducing):
        runs = table[table["arm"] == arm]
        offset = 0.6 * gap * ((position + 0.5) / len(reducing) - 0.5)
        means = []
        for threshold in (each for each in thresholds if each in set(runs["threshold"])):
            values = runs[runs["threshold"] == threshold]["value"]
            draw_seeds(axes, float(threshold) - offset, values, arm, styles[arm])
            means.append((float(threshold) - offset, values.mean()))
        _join(axes, *zip(*means, strict=True), styles[arm])
    axes.set_xticks(places, [f"top {each} %" for each in thresholds])
    axes.set_xlim(places.max() + 0.6 * gap, places.min() - 0.6 * gap)
    axes.set_xlabel("pixels kept at each reduction")
    axes.set_ylabel(_score_label(measure, " after the last iteration"))
    return finish_figure(
        figure, outputs, table, "small points: seeds; marks and lines: mean; bars, bands: 95 % interval"
    )


def plot_iterations(
    metrics: str | Path,
    references: str | Path,
    measure: str,
    class_group: str,
    arms: Roles,
    outputs: Sequence[str | Path],
) -> Figure:
    """Draw the test score against the iteration, a panel per threshold; arms trained once as lines."""
    table = read_metrics(metrics, measure, class_group)
    styles, thresholds = arm_styles(arms), list_thresholds(table)
    figure, panels = make_panels(len(thresholds))
    last, prior = table["iteration"].max(), read_prior(references, "test", measure, class_group)
    chains = table[table["iteration"] > 1]["arm"].unique()
    for axes, threshold in zip(panels, thresholds, strict=False):
        draw_prior(axes, prior)
        shown = at_threshold(threshold, table)
        present = [arm for arm in arms if arm in set(shown["arm"])]
        for arm in present:
            runs = shown[shown["arm"] == arm]
            if arm not in chains:
                draw_baseline(axes, runs["value"], arm, styles[arm])
                continue
            moving = [name for name in present if name in chains]
            offset = 0.3 * ((moving.index(arm) + 0.5) / len(moving) - 0.5)
            for iteration, some in runs.groupby("iteration"):
                draw_seeds(axes, iteration + offset, some["value"], arm, styles[arm])
            means = runs.groupby("iteration")["value"].mean()
            _join(axes, means.index + offset, means, styles[arm])
        axes.set_title(f"top {threshold} %")
        axes.set_xticks(range(1, last + 1))
        axes.set_xlim(0.7, last + 0.4)
        axes.set_xlabel("iteration")
    panels[0].set_ylabel(_score_label(measure))
    note = "small points: seeds; marks and lines: mean; bars, bands: 95 % interval"
    return finish_figure(figure, outputs, table, note + LAST_ONLY * MEASURES[measure].is_of_objects)


def plot_learning_curves(
    history: str | Path, references: str | Path, arms: Roles, outputs: Sequence[str | Path]
) -> Figure:
    """Draw validation mean IoU after every epoch against cumulative optimiser steps, a panel per threshold."""
    table = pd.read_csv(history, dtype={"threshold": str})
    styles, thresholds = arm_styles(arms), list_thresholds(table)
    prior = read_prior(references, "validation", "mean_iou", "all")
    figure, panels = make_panels(len(thresholds))
    for axes, threshold in zip(panels, thresholds, strict=False):
        draw_prior(axes, prior)
        shown = at_threshold(threshold, table)
        for arm in arms:
            runs = shown[shown["arm"] == arm]
            if not len(runs):
                continue
            curve = [
                (step, *mean_interval(some)) for step, some in runs.groupby("cumulative_steps")["validation_mean_iou"]
            ]
            steps, means, halves = (np.array(column) for column in zip(*curve, strict=True))
            look = {key: styles[arm][key] for key in ("color", "linestyle", "linewidth")}
            axes.fill_between(
                steps, 100 * (means - halves), 100 * (means + halves), color=look["color"], alpha=0.1, lw=0
            )
            axes.plot(steps, 100 * means, label=display_name(arm), **look)
        in_chains = shown[shown["arm"].isin(shown[shown["iteration"] > 1]["arm"])]
        for step in in_chains.groupby("iteration")["cumulative_steps"].max()[:-1]:
            axes.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
        axes.set_title(f"top {threshold} %")
        axes.set_xlabel("cumulative optimiser steps")
    seen = np.array([*(100 * table["validation_mean_iou"]), *([] if prior is None else [prior])])
    margin = 0.05 * (seen.max() - seen.min()) + 0.5
    panels[0].set_ylim(seen.min() - margin, seen.max() + margin)  # intervals of two seeds would stretch the axis
    panels[0].set_ylabel("validation mean IoU (%)")
    return finish_figure(figure, outputs, table, "lines: mean; bands: 95 % interval; dotted: a new iteration begins")


def plot_kept_pixels(kept_pixels: str | Path, arms: Roles, outputs: Sequence[str | Path]) -> Figure:
    """Draw the kept share, and how much of each class is kept, against iteration; a row per threshold."""
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
            for arm in (each for each in arms if each in set(shown["arm"])):
                means = shown[shown["arm"] == arm].groupby("iteration")["value"].mean()
                look = {**styles[arm], "markersize": 4}
                axes.plot([1, *means.index], [100, *means], label=display_name(arm), **look)
            axes.set_title(title if threshold == thresholds[0] else "")
        row[0].set_ylabel(f"top {threshold} %\nkept (%)")
    for axes in panels[-1]:
        axes.set_xlabel("iteration")
        axes.set_xticks(range(1, int(table["iteration"].max() if len(table) else 1) + 1))
    note = "share of the training pixels that an iteration trains on, mean over the seeds"
    return finish_figure(figure, outputs, table, note)


def plot_cost(
    metrics: str | Path,
    history: str | Path,
    measure: str,
    class_group: str,
    arms: Roles,
    outputs: Sequence[str | Path],
) -> Figure:
    """Draw the final test score against the optimiser steps of the whole chain; seconds depend on what else ran."""
    keys = ["arm", "threshold", "seed"]
    curves = pd.read_csv(history, dtype={"threshold": str})
    steps = curves.groupby(keys)["cumulative_steps"].max().rename("steps").reset_index()
    table = _last(read_metrics(metrics, measure, class_group)).merge(steps, on=keys, validate="one_to_one")
    styles, thresholds = arm_styles(arms), list_thresholds(table)
    figure, panels = make_panels(len(thresholds))
    for axes, threshold in zip(panels, thresholds, strict=False):
        shown = at_threshold(threshold, table)
        present = [arm for arm in arms if arm in set(shown["arm"])]
        width = 0.2 * shown["steps"].max()
        for position, arm in enumerate(present):
            runs = shown[shown["arm"] == arm]
            offset = width * ((position + 0.5) / len(present) - 0.5)
            draw_seeds(axes, runs["steps"].mean() + offset, runs["value"], arm, styles[arm])
        axes.set_xlim(left=0)
        axes.set_title(f"top {threshold} %")
        axes.set_xlabel("optimiser steps of the whole chain")
    panels[0].set_ylabel(_score_label(measure, " after the last iteration"))
    note = "small points: seeds; marks: mean; bars: 95 % interval; arms of equal steps stand side by side"
    return finish_figure(figure, outputs, table, note)


def _join(axes: Axes, x: Sequence[float], y: Sequence[float], style: dict[str, object]) -> None:
    """Join means by a line where there are enough of them."""
    if len(x) >= FEWEST_JOINED:
        axes.plot(x, y, **{key: style[key] for key in ("color", "linestyle", "linewidth")})


def _score_label(measure: str, when: str = "") -> str:
    about = MEASURES[measure]
    return textwrap.fill(f"test {about.name}{when} ({about.score_unit})", LABEL)


def _last(table: pd.DataFrame) -> pd.DataFrame:
    last = table.groupby(["arm", "threshold", "seed"])["iteration"].transform("max")
    return table[table["iteration"] == last]
