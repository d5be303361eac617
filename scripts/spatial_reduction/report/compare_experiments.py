"""Several experiments side by side: the same arms on other data, at other sizes, with other networks. No torch."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spatial_reduction.analysis.comparators import FULL
from spatial_reduction.analysis.measures import MEASURES, measured_group
from spatial_reduction.report.figure_style import display_name, finish_figure, mean_interval, read_metrics
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import require_whole_table, written_whole
from spatial_reduction.runtime.log import say

SETTING = ["arm", "threshold"]
RESAMPLES, LEVEL = 2000, 0.95


def compare_experiments(
    experiments: Sequence[str | Path],
    baseline: str,
    measure: str,
    class_group: str,
    table: str | Path,
    figures: Sequence[str | Path],
) -> None:
    """Write one table and one figure of the arms that all experiments have.

    Columns of the table: experiment (the folder's name), arm, threshold, n (seeds), score, score_low, score_high (mean
    of the seeds and its 95 % interval, Student's t, in the measure's printed unit), difference, difference_low,
    difference_high (from the baseline, paired by seed, the same way), probability, probability_low, probability_high
    (see `probability_better`).

    Args:
        experiments: folders of results that hold a `metrics.csv`.
        baseline: arm that never removes a pixel; the others are compared with it.
        measure, class_group: as in the section `report` of the configuration.

    Raises:
        InputError: a folder has no metrics, or the experiments share no arm but the baseline.
    """
    tables = {_name(folder, experiments): _final_scores(folder, measure, class_group) for folder in experiments}
    shared = set.intersection(*({*zip(scores["arm"], scores["threshold"], strict=True)} for scores in tables.values()))
    if (baseline, FULL) not in shared or len(shared) < 2:
        raise InputError(
            f"comparison.experiments: {', '.join(tables)} share {sorted(shared)}; {baseline} and one more are needed"
        )
    rows = []
    for name, scores in tables.items():
        chosen = list(dict.fromkeys(zip(scores["arm"], scores["threshold"], strict=True)))
        rows += [_row(name, *setting, scores, baseline, measure) for setting in chosen if setting in shared]
    compared = pd.DataFrame(rows)
    with written_whole(table) as partial:
        compared.to_csv(partial, index=False)
    _draw(compared.assign(**{"class": measured_group(measure, class_group)}), baseline, measure, figures)
    say(f"{table}: {len(shared)} settings in {len(tables)} experiments")


def probability_better(scores: np.ndarray, baseline: np.ndarray, higher_is_better: bool) -> tuple[float, float, float]:
    """Return the probability that a run of the arm is better than one of the baseline, and its 95 % interval.

    The share of the pairs of runs that the arm wins, a draw counts half (Mann and Whitney 1947); "probability of
    improvement" in Agarwal et al. 2021 (arXiv 2108.13264). The interval is of the percentile bootstrap, the runs of
    both resampled separately; NaN with fewer than two runs.

    Args:
        scores, baseline: a value per seed, float (n,) and (m,).
    """
    sign = 1 if higher_is_better else -1
    won = np.sign(sign * (scores[:, None] - baseline[None, :])) / 2 + 0.5
    if min(won.shape) < 2:
        return float(won.mean()), float("nan"), float("nan")
    rng = np.random.default_rng(0)
    own, other = (rng.integers(0, size, (RESAMPLES, size)) for size in won.shape)
    drawn = won[own[:, :, None], other[:, None, :]].mean(axis=(1, 2))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(won.mean()), float(low), float(high)


def _name(folder: str | Path, experiments: Sequence[str | Path]) -> str:
    """Return a folder's name, with its parent's if another folder has the same name."""
    names = [Path(each).name for each in experiments]
    path = Path(folder)
    return path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}"


def _final_scores(folder: str | Path, measure: str, class_group: str) -> pd.DataFrame:
    path = Path(folder) / "metrics.csv"
    if not path.exists():
        raise InputError(f"comparison.experiments: {path} is not there; it is written at the end of an experiment")
    require_whole_table(path)
    scores = read_metrics(path, measure, class_group)
    if scores.empty:
        raise InputError(f"{path}: holds no {measure} on intact test images; see evaluation.measures")
    last = scores.groupby(["arm", "threshold", "seed"])["iteration"].transform("max")
    return scores[scores["iteration"] == last]


def _row(
    experiment: str, arm: str, threshold: str, scores: pd.DataFrame, baseline: str, measure: str
) -> dict[str, object]:
    of_setting = scores[(scores["arm"] == arm) & (scores["threshold"] == threshold)].set_index("seed")["value"]
    base = scores[scores["arm"] == baseline].set_index("seed")["value"]
    row: dict[str, object] = {"experiment": experiment, "arm": arm, "threshold": threshold, "n": len(of_setting)}
    for name, values in (("score", of_setting), ("difference", (of_setting - base).dropna())):
        mean, half = mean_interval(values)
        row |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
    better = probability_better(of_setting.to_numpy(), base.to_numpy(), MEASURES[measure].higher_is_better)
    return row | dict(zip(("probability", "probability_low", "probability_high"), better, strict=True))


def _draw(compared: pd.DataFrame, baseline: str, measure: str, outputs: Sequence[str | Path]) -> Figure:
    """Draw scores, differences and probabilities with their intervals: a row per setting, a mark per experiment."""
    about, names = MEASURES[measure], list(dict.fromkeys(compared["experiment"]))
    settings = list(dict.fromkeys(zip(compared["arm"], compared["threshold"], strict=True)))
    size = (9.0, 1.2 + 0.2 * len(settings) * (1 + len(names)))
    figure, panels = plt.subplots(1, 3, figsize=size, sharey=True)
    marks = dict(
        zip(names, zip(sns.color_palette("colorblind", len(names)), "osD^vPX*<>" * 9, strict=False), strict=True)
    )
    for axes, (column, label) in zip(
        panels,
        {
            "score": f"test {about.name} ({about.score_unit})",
            "difference": f"minus {display_name(baseline)} ({about.unit})",
            "probability": f"probability of a better run\nthan of {display_name(baseline)}",
        }.items(),
        strict=True,
    ):
        for position, name in enumerate(names):
            rows = compared[compared["experiment"] == name]
            if column != "score":
                rows = rows[rows["arm"] != baseline]
            places = [settings.index(each) for each in zip(rows["arm"], rows["threshold"], strict=True)]
            offset = 0.7 * ((position + 0.5) / len(names) - 0.5)
            colour, marker = marks[name]
            _draw_intervals(axes, rows, column, np.array(places) + offset, name, color=colour, marker=marker)
        axes.set_xlabel(label)
    panels[1].axvline(0, color="0.3", linewidth=0.8)
    panels[2].axvline(0.5, color="0.3", linewidth=0.8)
    panels[2].set_xlim(-0.03, 1.03)
    labels = [display_name(arm) if at == FULL else f"{display_name(arm)}, top {at} %" for arm, at in settings]
    panels[0].set_yticks(range(len(settings)), labels)
    panels[0].set_ylim(len(settings) - 0.5, -0.5)
    note = "marks: mean over the seeds, or share of the pairs of runs; bars: 95 % interval"
    return finish_figure(figure, outputs, compared, note)


def _draw_intervals(axes: Axes, rows: pd.DataFrame, column: str, y: np.ndarray, label: str, **look: object) -> None:
    values = rows[column].to_numpy()
    reach = np.abs(rows[[f"{column}_low", f"{column}_high"]].to_numpy() - values[:, None]).T
    axes.errorbar(values, y, xerr=np.nan_to_num(reach), linestyle="none", markersize=5, label=label, **look)
