"""What all figures share: the look of the arms, intervals, panels, how a figure is written. No torch."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from zlib import crc32

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import stdtrit

from spatial_reduction.analysis.comparators import FULL
from spatial_reduction.analysis.measures import MEASURES, measured_group
from spatial_reduction.evaluation.references import PRIOR
from spatial_reduction.runtime.files import written_whole

matplotlib.use("Agg")

LABEL = 50  # characters of a line beside an axis
LAST_ONLY = "; objects are measured after the last iteration alone"
DASH = 4  # length of a baseline's dashes, in widths of its line
PRIOR_LABEL = "position prior, sees no image"
CHARACTER = 0.56  # mean width of a character of the figures' font, in text sizes
SMALL = 0.85  # of the text size: notes below a figure, ticks of dense axes

Roles = Mapping[str, str]  # arm -> method, baseline, control or variant; the arms of the experiment in order


@dataclass(frozen=True)
class _Look:
    """Colours and markers that the arms of one role choose from, and how they are drawn."""

    colours: tuple[str, ...]
    markers: str
    linestyle: str
    width: float


# The method is the strongest line; baselines are neutral; controls are pale; variants are saturated. Within a role the
# numbers of colours and of markers share no divisor, so that as many arms as their product differ.
LOOKS = {
    "method": _Look(("#0b4f9e",), "o", "-", 2.4),
    "baseline": _Look(("#000000", "#6b6b6b", "#a3a3a3"), "sDPX", "--", 1.6),
    "control": _Look(("#b99a5b", "#8aa58a", "#c48ba8", "#7fa8b8", "#a898c8"), "v^<>dhp*", ":", 1.2),
    "variant": _Look(
        ("#d55e00", "#009e73", "#cc79a7", "#e6a100", "#56b4e9", "#7b3294", "#8c510a"), "o^sDvPX*", "-", 1.4
    ),
}
# Arms that the project's own configurations name, by role: their place decides their look, in every experiment.
SHIPPED = {
    "method": ["saliency"],
    "baseline": ["single_pass", "equal_compute", "restarts"],
    "control": ["shuffled", "random", "random_blocks", "centre", "inverse", "oracle", "mask_only"],
    "variant": [
        *("loss_only", "input_and_loss", "fill_mean", "fill_blur", "fill_noise", "fill_linear", "mixed", "crop"),
        *("finish_intact", "scratch", "fresh", "saliency_entropy", "saliency_grad_cam", "saliency_iterative_grad_cam"),
        *("saliency_integrated_gradients", "saliency_superpixel", "saliency_active"),
    ],
}

sns.set_theme(context="paper", style="ticks", palette="colorblind", rc={"axes.grid": True, "grid.alpha": 0.3})


_sizes: dict[str, float | None] = {"width": None}  # of every figure, in inches; None: each has its own


def set_sizes(text_size: float, width: float | None = None) -> None:
    """Set the size of the text, and the width, of the figures that this process draws.

    Args:
        text_size: in points.
        width: in centimetres; None leaves each figure its own. Text stays as large and curves as high; pictures keep
            their shape.
    """
    keys = ("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    matplotlib.rcParams.update(dict.fromkeys(keys, text_size) | {"legend.title_fontsize": text_size})
    _sizes["width"] = None if width is None else width / 2.54


def text_size(share: float = 1) -> float:
    """Return the size of the figures' text in points, or a share of it."""
    return share * float(matplotlib.rcParams["font.size"])


def read_metrics(path: str | Path, measure: str, class_group: str) -> pd.DataFrame:
    """Return arm, threshold, seed, iteration, class, value (as printed) of one summary measure, intact test images.

    Measures of objects are there of each chain's last iteration alone.
    """
    table = pd.read_csv(path, dtype={"threshold": str})
    is_wanted = (table["measure"] == measure) & (table["class"] == measured_group(measure, class_group))
    table = table[is_wanted & (table["split"] == "test") & (table["protocol"] == "intact")]
    return table.assign(value=MEASURES[measure].scale * table["value"])[
        ["arm", "threshold", "seed", "iteration", "class", "value"]
    ]


def read_prior(references: str | Path, split: str, measure: str, class_group: str) -> float | None:
    """Return the position prior's score on a split's images, as printed; None in a measure that it does not have.

    With `dataset.split.per_seed` its training and validation images are those of `dataset.split.seed`.
    """
    table = pd.read_csv(references)
    is_wanted = (table["predictor"] == PRIOR) & (table["split"] == split) & (table["measure"] == measure)
    values = table[is_wanted & (table["class"] == measured_group(measure, class_group))]["value"].dropna()
    return MEASURES[measure].scale * float(values.iloc[0]) if len(values) else None


def arm_styles(roles: Roles) -> dict[str, dict[str, object]]:
    """Return colour, marker, line and width of each arm: by its role and its name, the same in every experiment.

    An arm that the project does not name takes the look that a checksum of its name points to, or the next free one.
    """
    styles: dict[str, dict[str, object]] = {}
    for role, look in LOOKS.items():
        count = len(look.colours) * len(look.markers)
        pairs = list(islice(zip(cycle(look.colours), cycle(look.markers), strict=False), count))
        taken = dict(enumerate(SHIPPED[role]))
        places = {name: place for place, name in taken.items()}
        for arm in sorted(name for name in roles if roles[name] == role):
            if arm not in places:
                start = crc32(arm.encode()) % count
                free = (place % count for place in range(start, start + count) if place % count not in taken)
                places[arm] = next(free, start)  # more arms than looks: two look alike
                taken[places[arm]] = arm
            place = places[arm] % count
            colour, marker = pairs[place]
            # Dashes of baselines leave room for those of two others: lines that coincide are all seen.
            line = (DASH * (place % 3), (DASH, 2 * DASH)) if role == "baseline" else look.linestyle
            styles[arm] = {"color": colour, "marker": marker, "linestyle": line, "linewidth": look.width}
    return {arm: styles[arm] for arm in roles}


def display_name(arm: str) -> str:
    """Return an arm as figures name it."""
    return arm.replace("_", " ")


def mean_interval(values: pd.Series | np.ndarray) -> tuple[float, float]:
    """Return the mean of seeds and half the width of its 95 % interval (Student's t); NaN for a single seed."""
    values = np.asarray(values, dtype=float)
    count = len(values)
    if count < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(stdtrit(count - 1, 0.975) * values.std(ddof=1) / np.sqrt(count))


def save_figure(figure: Figure, outputs: Sequence[str | Path]) -> Figure:
    """Write the figure once per path, in the format of its suffix, without a date: equal data, equal bytes."""
    if _sizes["width"]:
        figure.set_size_inches(figure.get_size_inches() * _sizes["width"] / figure.get_figwidth())
    for path in outputs:
        suffix = Path(path).suffix[1:]
        dateless = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(suffix, {})
        with written_whole(path) as partial, matplotlib.rc_context({"svg.hashsalt": "", "svg.fonttype": "none"}):
            figure.savefig(partial, format=suffix, dpi=160, bbox_inches="tight", metadata=dateless)
    plt.close(figure)
    return figure


def list_baselines(table: pd.DataFrame) -> list[str]:
    """Return the arms that never remove a pixel."""
    return [arm for arm, runs in table.groupby("arm", sort=False) if set(runs["threshold"]) == {FULL}]


def list_thresholds(table: pd.DataFrame) -> list[str]:
    """Return the thresholds of the arms that remove pixels, from the most kept to the least; 100 if there is none."""
    values = set(table[~table["arm"].isin(list_baselines(table))]["threshold"]) or {FULL}
    return sorted(values, key=float, reverse=True)


def at_threshold(threshold: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that the panel of a threshold shows: its own, and those of arms that never remove a pixel."""
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


def draw_seeds(axes: Axes, x: float, values: pd.Series, arm: str, style: Mapping[str, object]) -> None:
    """Draw the seeds of one setting as small points, their mean as a marker with its 95 % interval."""
    mean, half = mean_interval(values)
    axes.scatter(np.full(len(values), x), values, s=9, alpha=0.45, color=style["color"], linewidths=0)
    look = {"color": style["color"], "marker": style["marker"], "linestyle": "none", "markersize": 6}
    axes.errorbar([x], [mean], yerr=None if np.isnan(half) else [half], elinewidth=1.4, label=display_name(arm), **look)


def draw_baseline(axes: Axes, values: pd.Series, arm: str, style: Mapping[str, object]) -> None:
    """Draw an arm that has one score per seed, whatever x is: its mean as a line, its 95 % interval as a band."""
    mean, half = mean_interval(values)
    if not np.isnan(half):
        axes.axhspan(mean - half, mean + half, color=style["color"], alpha=0.08, linewidth=0)
    look = {key: style[key] for key in ("color", "linestyle", "linewidth")}
    axes.axhline(mean, label=display_name(arm), zorder=1.5, **look)
    edge = axes.get_yaxis_transform()
    axes.plot([0.015], [mean], marker=style["marker"], color=style["color"], transform=edge, markersize=5)


def draw_prior(axes: Axes, score: float | None) -> None:
    """Draw the score of the position prior, see `read_prior`, as a thin line; nothing where it is None."""
    if score is not None:
        axes.axhline(score, color="0.35", linestyle=(0, (1, 2)), linewidth=1.1, zorder=1, label=PRIOR_LABEL)


def finish_figure(figure: Figure, outputs: Sequence[str | Path], table: pd.DataFrame, note: str) -> Figure:
    """Add one legend and a line that says what is drawn and of how many seeds; save; return the figure.

    Args:
        table: what is drawn, with a column `seed`, or `n` if it is of means over seeds. If its column `class` names a
            group of `evaluation.class_groups`, the line says so.
        note: what the marks and lines are.
    """
    if _sizes["width"]:
        figure.set_figwidth(_sizes["width"])
    entries: dict[str, object] = {}
    for axes in figure.axes:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    if entries:
        rows = -(-len(entries) // max(3, int(figure.get_figwidth() / 1.4)))
        look = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "frameon": False, "handlelength": 3.2}
        figure.legend(entries.values(), entries.keys(), ncols=-(-len(entries) // rows), **look)
    groups = set(table["class"]) - {"all", "foreground"} if "class" in table else ()
    averaged = f" Scores: over the classes of {groups.pop()}." if len(groups) == 1 else ""
    text = f"{name_seeds(table)}.{averaged} {note[0].upper()}{note[1:]}."
    text = textwrap.fill(text, int(figure.get_figwidth() * 72 / (CHARACTER * text_size(SMALL))))
    figure.text(0.01, 0.0, text, fontsize=text_size(SMALL), color="0.35", va="top")
    sns.despine(figure)
    return save_figure(figure, outputs)


def name_seeds(table: pd.DataFrame) -> str:
    """Say how many seeds the rows of a table are of."""
    if "seed" not in table:
        fewest, most = table["n"].min(), table["n"].max()
        return f"n = {most} seeds" if fewest == most else f"n = {fewest} to {most} seeds"
    seeds = sorted(set(table["seed"]))
    named = ", ".join(map(str, seeds)) if len(seeds) <= 12 else f"{seeds[0]} to {seeds[-1]}"
    return f"n = {len(seeds)} seeds ({named})"
