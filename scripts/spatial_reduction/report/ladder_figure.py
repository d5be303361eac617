"""The ladder as a figure: from the baseline to the method, step by step. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spatial_reduction.analysis.ladder import MASKING, METHOD, TRAINING, Step, build_ladder
from spatial_reduction.analysis.measures import MEASURES
from spatial_reduction.analysis.tables import read_contrasts
from spatial_reduction.report.figure_style import SMALL, display_name, finish_figure, text_size
from spatial_reduction.report.verdict_figures import DECISION_STYLES, name_decision
from spatial_reduction.runtime.errors import InputError


def plot_ladder(
    contrasts: str | Path, evaluation: Mapping[str, Any], report: Mapping[str, Any], outputs: Sequence[str | Path]
) -> Figure:
    """Draw each step as a bar with its 95 % interval, a panel per threshold.

    Masking begins where more training ends, so the two bars lead from the baseline to the method. What the content of
    the mask adds stands below, from 0.

    Args:
        evaluation, report: sections of the configuration.

    Raises:
        InputError: the method is not compared with any arm.
    """
    ladder = build_ladder(read_contrasts(contrasts), evaluation, report)
    if not ladder:
        raise InputError(f"{contrasts}: {report['method']} is not compared with any arm; see evaluation.comparators")
    names = list(dict.fromkeys((step.name, *step.sides) for step in ladder))
    thresholds = list(dict.fromkeys(step.threshold for step in ladder))
    size = (2.6 + 2.6 * len(thresholds), 1.2 + 0.64 * len(names))
    figure, row = plt.subplots(1, len(thresholds), figsize=size, sharex=True, sharey=True, squeeze=False)
    for axes, threshold in zip(row[0], thresholds, strict=True):
        _draw_steps(axes, [step for step in ladder if step.threshold == threshold], names)
        axes.set_title(f"top {threshold} %")
        axes.margins(x=0.16)
    labels = [f"{name}\n{display_name(arm)} minus {display_name(against)}" for name, arm, against in names]
    row[0][0].set_yticks(range(len(names)), labels)
    row[0][0].set_ylim(len(names) - 0.5, -0.5)
    measure = MEASURES[report["measure"]]
    figure.supxlabel(f"test {measure.name}, difference ({measure.unit})", y=0.04, fontsize=text_size())
    table = pd.DataFrame([step.contrast for step in ladder])
    note = "bars: mean difference, lines: 95 % intervals; masking begins where more training ends"
    return finish_figure(figure, outputs, table, note)


def _draw_steps(axes: Axes, steps: Sequence[Step], names: Sequence[tuple[str, str, str]]) -> None:
    axes.axvline(0, color="0.3", linewidth=0.8)
    reached = 0.0
    for step in steps:
        found, y = step.contrast, names.index((step.name, *step.sides))
        if found["difference"] != found["difference"]:
            continue
        is_second = step.name in (MASKING, METHOD)
        start = reached if is_second else 0.0
        style = DECISION_STYLES[found["decision"]]
        axes.barh(y, found["difference"], left=start, height=0.5, color=style["color"], alpha=0.35, linewidth=0)
        if step.name == TRAINING:
            reached = found["difference"]
        if is_second and start:
            axes.plot([start, start], [y - 1, y], color="0.5", linewidth=0.8, linestyle=":")
        end = start + found["difference"]
        reach = None
        if found["ci_low"] == found["ci_low"]:
            reach = [[found["difference"] - found["ci_low"]], [found["ci_high"] - found["difference"]]]
        look = {"color": style["color"], "markersize": 5, "linewidth": 1.3, "label": name_decision(found["decision"])}
        axes.errorbar([end], [y], xerr=reach, fmt=style["marker"], **look)
        words = {"textcoords": "offset points", "ha": "center", "fontsize": text_size(SMALL), "linespacing": 1.0}
        words["bbox"] = {"facecolor": "white", "alpha": 0.6, "linewidth": 0, "pad": 0.5}
        axes.annotate(_describe(found), (end, y), (0, 5), **words)


def _describe(found: Mapping[str, Any]) -> str:
    """Return a difference and, below it, its interval; where a bar begins elsewhere, the axis does not show them."""
    value, low, high = (f"{found[name]:+z.1f}" for name in ("difference", "ci_low", "ci_high"))
    return value if found["ci_low"] != found["ci_low"] else f"{value}\n({low} to {high})"
