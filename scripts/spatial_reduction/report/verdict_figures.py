"""The figures that the verdict rests on: contrasts, thresholds by iteration, robustness, calibration. No torch."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spatial_reduction.analysis.comparators import FULL
from spatial_reduction.analysis.counts_file import BACKGROUNDS, read_counts
from spatial_reduction.analysis.measures import HYPOTHESES, MEASURES, deciding_measures, measured_group
from spatial_reduction.analysis.tables import CHAIN, last_test_rows, read_contrasts
from spatial_reduction.evaluation.corruptions import CORRUPTED
from spatial_reduction.report.figure_style import (
    LAST_ONLY,
    Roles,
    arm_styles,
    at_threshold,
    display_name,
    finish_figure,
    list_thresholds,
    mean_interval,
    read_metrics,
)
from spatial_reduction.runtime.errors import InputError

# Colours of seaborn's palette "colorblind", and a marker each for print without colour.
DECISION_STYLES = {
    "supported": {"color": "#029e73", "marker": "^"},
    "refuted": {"color": "#d55e00", "marker": "v"},
    "equivalent": {"color": "#0173b2", "marker": "s"},
    "undecided": {"color": "#5b6675", "marker": "o"},
    "not_learnt": {"color": "#b05a7a", "marker": "X"},
    "not_comparable": {"color": "#b05a7a", "marker": "P"},
    "undefined": {"color": "#b05a7a", "marker": "d"},
    "": {"color": "#b0b0b0", "marker": "."},
}
REACH = 10.0  # points on each side of iteration 1 that the colours of a heat map span
FEWEST_PIXELS = 1e-4  # smallest share of the pixels with which a bin of confidence is drawn


def plot_contrasts(
    contrasts: str | Path, comparator: str, measure: str, class_group: str, outputs: Sequence[str | Path]
) -> Figure:
    """Every arm and threshold against the comparator in the measure that decides each hypothesis, with intervals."""
    table = read_contrasts(contrasts)
    table = table[table["comparator"] == comparator]
    panels = {
        name: table[(table["measure"] == decider) & (table["protocol"] == protocol) & (table["class"] == group)]
        for name, (decider, protocol) in deciding_measures(measure).items()
        for group in [measured_group(decider, class_group) if protocol == "intact" else _only_group(decider)]
    }
    panels = {name: rows for name, rows in panels.items() if len(rows)}
    settings = list(dict.fromkeys(zip(table["arm"], table["threshold"], strict=True)))
    if not panels:
        raise InputError(f"{contrasts}: no arm is compared with {comparator}")
    size = (2.2 + 2.5 * len(panels), 1.3 + 0.24 * len(settings))
    figure, row = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axes, (name, rows) in zip(row[0], panels.items(), strict=True):
        _draw_contrasts(axes, rows, settings)
        axes.set_title(f"{name}, {HYPOTHESES[name]}")
    row[0][0].set_yticks(range(len(settings)), [name_setting(*setting) for setting in settings])
    row[0][0].set_ylim(len(settings) - 0.5, -0.5)
    note = (
        f"arm minus {display_name(comparator)}, lines: 95 % intervals; grey band: no difference that matters; hollow: "
        "lower on intact images, so less to lose; exploratory: not adjusted, decides nothing"
    )
    return finish_figure(figure, outputs, pd.concat(panels.values()), note)


def plot_heat_map(
    metrics: str | Path, measure: str, class_group: str, arm: str, outputs: Sequence[str | Path]
) -> Figure:
    """Draw the mean test score of one arm, thresholds by iterations; colours: the difference from iteration 1.

    The colours have one range in every figure, `REACH` on both sides of iteration 1, so that figures compare.
    """
    table = read_metrics(metrics, measure, class_group)
    table = table[table["arm"] == arm]
    grid = table.pivot_table(index="threshold", columns="iteration", values="value", aggfunc="mean")
    grid = grid.loc[sorted(grid.index, key=float, reverse=True)]
    about = MEASURES[measure]
    is_started = 1 in grid.columns
    change = grid.sub(grid[1], axis=0) if is_started else grid * np.nan
    reach = REACH * about.scale / 100
    figure, axes = plt.subplots(figsize=(2.8 + 0.8 * grid.shape[1], 1.6 + 0.5 * grid.shape[0]))
    form, better = f".{about.score_digits}f", "PuOr" if about.higher_is_better else "PuOr_r"
    bar = {"label": textwrap.fill(f"minus iteration 1 ({about.unit})", 22), "extend": "both"}
    look = {"annot": grid, "fmt": form, "cmap": better, "vmin": -reach, "vmax": reach, "linewidths": 0.5}
    sns.heatmap(change.fillna(0), ax=axes, cbar=is_started, cbar_kws=bar if is_started else None, **look)
    axes.set_yticks(axes.get_yticks(), [f"top {threshold} %" for threshold in grid.index], rotation=0)
    axes.set_title(f"{display_name(arm)}: test {about.name} ({about.score_unit})")
    axes.set_xlabel("iteration")
    axes.set_ylabel("")
    note = LAST_ONLY if about.is_of_objects else "; iteration 1, on intact images, is the same for all rows"
    return finish_figure(figure, outputs, table, "mean over the seeds" + note)


def plot_robustness(
    metrics: str | Path, contrasts: str | Path, comparator: str, arms: Roles, outputs: Sequence[str | Path]
) -> Figure:
    """Draw the loss of test IoU under every family of corruption and change of background, a column each.

    Hollow where `contrasts.csv` says that the arm has less to lose than the comparator.

    Raises:
        InputError: neither a corruption nor a change of background was evaluated.
    """
    losses = measure_losses(pd.read_csv(metrics, dtype={"threshold": str}))
    if losses.empty:
        raise InputError(
            f"{metrics}: neither a corruption nor a change of background was evaluated; see evaluation.protocols"
        )
    families, styles = list(losses.columns[3:]), arm_styles(arms)
    table = read_contrasts(contrasts)
    table = table[(table["comparator"] == comparator) & table["less_to_lose"]]
    lower = set(zip(table["measure"], table["arm"], table["threshold"], strict=True))
    settings = list(dict.fromkeys(zip(losses["arm"], losses["threshold"], strict=True)))
    settings.sort(key=lambda setting: (list(arms).index(setting[0]), -float(setting[1])))
    size = (2.2 + 1.6 * len(families), 1.2 + 0.24 * len(settings))
    figure, row = plt.subplots(1, len(families), figsize=size, sharex=True, sharey=True, squeeze=False)
    for axes, family in zip(row[0], families, strict=True):
        for y, (arm, threshold) in enumerate(settings):
            values = losses[(losses["arm"] == arm) & (losses["threshold"] == threshold)][family]
            mean, half = mean_interval(values)
            look = {"color": styles[arm]["color"], "marker": styles[arm]["marker"], "markersize": 5}
            drop = f"{family}_drop" if family in BACKGROUNDS else "corruption_drop"
            look["markerfacecolor"] = "white" if (drop, arm, threshold) in lower else look["color"]
            axes.scatter(values, np.full(len(values), y), s=7, alpha=0.45, color=look["color"], linewidths=0)
            axes.errorbar([mean], [y], xerr=None if np.isnan(half) else [half], linestyle="none", **look)
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_title(family.replace("_", "\n"))
        axes.set_xlabel("loss (points)")
    row[0][0].set_yticks(range(len(settings)), [name_setting(*setting) for setting in settings])
    row[0][0].set_ylim(len(settings) - 0.5, -0.5)
    note = (
        "loss of mean IoU, over severities, and of foreground IoU for backgrounds; small points: seeds; marks: mean; "
        f"bars: 95 % interval; hollow: scores lower on intact images than {display_name(comparator)}, so less to lose"
    )
    return finish_figure(figure, outputs, losses, note)


def measure_losses(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return arm, threshold, seed and a column per family: points lost on changed test images after the last iteration.

    Args:
        metrics: `metrics.csv`.
    """
    test = last_test_rows(metrics)
    losses: dict[str, list[pd.Series]] = {}
    for measure, group in (("mean_iou", "all"), ("binary_iou", "foreground")):
        scores = test[(test["measure"] == measure) & (test["class"] == group)]
        scores = 100 * scores.pivot_table(index=CHAIN, columns="protocol", values="value", sort=False)
        for protocol in scores.columns:
            if protocol in (CORRUPTED if measure == "mean_iou" else BACKGROUNDS):
                name = CORRUPTED[protocol][0] if protocol in CORRUPTED else protocol
                losses.setdefault(name, []).append(scores["intact"] - scores[protocol])
    table = pd.DataFrame({name: sum(some) / len(some) for name, some in losses.items()})
    return table.reset_index() if len(table) else pd.DataFrame(columns=CHAIN)


def plot_reliability(
    counts: Sequence[str | Path],
    chains: Sequence[Sequence[str]],
    arms: Roles,
    outputs: Sequence[str | Path],
) -> Figure:
    """Draw accuracy against confidence of the test pixels, and how many are that confident; a column per threshold.

    Args:
        counts: `counts.h5` of each chain.
        chains: (arm, threshold, seed) of each.

    Raises:
        InputError: the confidence of the models was not evaluated.
    """
    pooled: dict[tuple[str, str], np.ndarray] = {}
    for path, (arm, threshold, _) in zip(counts, chains, strict=True):
        found = read_counts(path)[0]
        if "intact/reliability" in found:
            pooled[arm, threshold] = pooled.get((arm, threshold), 0) + found["intact/reliability"].sum(axis=0)
    if not pooled:
        raise InputError(f"{counts[0]}: the confidence of the models was not evaluated; see evaluation.splits")
    table, styles = pd.DataFrame(chains, columns=["arm", "threshold", "seed"]), arm_styles(arms)
    thresholds = list_thresholds(table)
    size = (1.0 + 2.9 * len(thresholds), 4.6)
    grid = {"height_ratios": [3, 1]}
    figure, panels = plt.subplots(
        2, len(thresholds), figsize=size, sharex=True, sharey="row", squeeze=False, gridspec_kw=grid
    )
    for (above, below), threshold in zip(panels.T, thresholds, strict=True):
        above.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        shown = at_threshold(threshold, table).drop_duplicates("arm")
        for arm, place in zip(shown["arm"], shown["threshold"], strict=True):
            _draw_reliability(above, below, pooled[arm, place], styles[arm], arm)
        above.set_title(f"top {threshold} %")
        below.set_xlabel("confidence")
    panels[0, 0].set_ylabel("accuracy")
    panels[1, 0].set_ylabel("pixels (%)")
    note = "all seeds pooled; on the grey line confidence equals accuracy, below it confidence is too high"
    return finish_figure(figure, outputs, table.astype({"seed": int}), note)


def name_decision(decision: str) -> str:
    """Return a decision as figures name it."""
    return decision.replace("_", " ") or "exploratory"


def name_setting(arm: str, threshold: str) -> str:
    """Return an arm with its threshold as figures name it."""
    return display_name(arm) if threshold == FULL else f"{display_name(arm)}, top {threshold} %"


def _draw_reliability(above: Axes, below: Axes, bins: np.ndarray, style: Mapping[str, object], arm: str) -> None:
    pixels, confidence, correct = bins.T
    enough = pixels > FEWEST_PIXELS * pixels.sum()
    look = {**style, "markersize": 3.5}
    above.plot(confidence[enough] / pixels[enough], correct[enough] / pixels[enough], label=display_name(arm), **look)
    below.plot(confidence[enough] / pixels[enough], 100 * pixels[enough] / pixels.sum(), **look)


def _draw_contrasts(axes: Axes, rows: pd.DataFrame, settings: Sequence[tuple[str, str]]) -> None:
    measure, reach = MEASURES[rows["measure"].iloc[0]], rows["margin"].iloc[0]
    axes.axvspan(-reach, reach, color="0.9", linewidth=0)
    axes.axvline(0, color="0.3", linewidth=0.8)
    rows = rows[rows["difference"].notna()]
    for (decision, is_hollow), some in rows.groupby(["decision", "less_to_lose"], sort=False):
        y = [settings.index(place) for place in zip(some["arm"], some["threshold"], strict=True)]
        reach = np.abs(some[["ci_low", "ci_high"]].to_numpy() - some[["difference"]].to_numpy()).T
        style = DECISION_STYLES[decision]
        look = {"fmt": style["marker"], "color": style["color"], "markersize": 5, "linewidth": 1.3}
        look["markerfacecolor"] = "white" if is_hollow else style["color"]
        axes.errorbar(some["difference"], y, xerr=reach, label=name_decision(decision), **look)
    better = "better \N{RIGHTWARDS ARROW}" if measure.higher_is_better else "\N{LEFTWARDS ARROW} better"
    axes.set_xlabel(textwrap.fill(measure.name, 30) + f"\n({measure.unit}, {better})")


def _only_group(measure: str) -> str:
    return "foreground" if measure.startswith("background") else "all"
