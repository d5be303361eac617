"""What stands in the way of believing a claim: each function returns the warnings of one kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from spatial_reduction.analysis.measures import MEASURES
from spatial_reduction.analysis.statistics import FEWEST_SEEDS
from spatial_reduction.analysis.tables import CHAIN


@dataclass(frozen=True)
class Evidence:
    """The tables that a verdict rests on.

    Attributes:
        contrasts: `contrasts.csv`.
        final: rows of `metrics.csv` of each chain's last iteration on the test images, all protocols.
        steps: arm, threshold, seed, steps: optimiser steps of each chain.
        class_share: {class: per cent of the training pixels}.
        parted_twins: how many groups of images that are the same, or nearly, lie in several splits.
        absent_classes: "class (split)" where no image of a split has a class.
    """

    contrasts: pd.DataFrame
    final: pd.DataFrame
    steps: pd.DataFrame
    class_share: Mapping[str, float]
    parted_twins: int = 0
    absent_classes: Sequence[str] = ()


def warn_of_few_seeds(seeds: int) -> list[str]:
    """Warn below the fewest seeds with which a distribution-free test can reach 5 %."""
    if seeds < 2:
        return ["One seed: no interval and no test can be given."]
    if seeds >= FEWEST_SEEDS:
        return []
    return [
        (
            f"Few seeds: with n = {seeds} an exact Wilcoxon test cannot go below p = {2 / 2**seeds:.4g}, whatever the "
            f"effect; every claim then rests on the t distribution. Plan at least {FEWEST_SEEDS}, better 10."
        )
    ]


def warn_of_data(evidence: Evidence) -> list[str]:
    """Warn of images that are in several splits, and of classes that a split lacks."""
    twins, absent = evidence.parted_twins, ", ".join(evidence.absent_classes)
    found = (
        f"Twins: {twins} groups of images are the same, or nearly, and lie in several splits; what is measured there "
        "was in part seen before (dataset.h5 names them: parted_twin_names)."
    )
    missing = f"Absent classes: no image has {absent}; measures of these classes say nothing there."
    return [line for line, is_so in ((found, twins), (missing, absent)) if is_so]


def warn_of_weak_baseline(evidence: Evidence, primary: str, least: float | None) -> list[str]:
    """Warn of a primary comparator whose mean IoU on intact test images is below `report.least_baseline_iou`."""
    base = _mean_iou(evidence.final, primary, "intact")
    if least is None or not base < least:
        return []
    return [
        (
            f"Weak baseline: {primary} reaches mean IoU {100 * base:.1f} %, below the {100 * least:.1f} % that "
            "report.least_baseline_iou asks for; it is not trained well enough to be the yardstick."
        )
    ]


def warn_of_unequal_compute(evidence: Evidence, method: str, primary: str) -> list[str]:
    """Warn where the method and the primary comparator took different numbers of optimiser steps."""
    counts = evidence.steps.groupby("arm")["steps"].agg(["min", "max"])
    if tuple(counts.loc[method]) == tuple(counts.loc[primary]):
        return []
    return [
        (
            f"Unequal compute: {method} took {counts.loc[method, 'max']:.0f} optimiser steps, {primary} "
            f"{counts.loc[primary, 'max']:.0f}; a difference may come from training longer."
        )
    ]


def warn_of_collapse(evidence: Evidence) -> list[str]:
    """Warn of every arm and threshold with a last model that predicts one class everywhere."""
    final = evidence.final
    ious = final[(final["measure"] == "iou") & (final["protocol"] == "intact")]
    predicted = ious[ious["value"] > 0].groupby(CHAIN).size()
    collapsed = predicted[predicted == 1].reset_index().groupby(["arm", "threshold"], sort=False)["seed"]
    return [
        f"Collapsed: {arm}, top {threshold} %, predicts one class everywhere (seeds {', '.join(map(str, seeds))}); "
        "a comparison with it says nothing."
        for (arm, threshold), seeds in collapsed
    ]


def warn_of_mask_leak(evidence: Evidence, config: Mapping[str, Any]) -> list[str]:
    """Warn where an arm that sees masks alone beats the predictor of the commonest class by more than the margin.

    Such an arm has the fill `mask`. That predictor has the commonest class's share as its IoU and 0 in the others. The
    arm is asked on self-masked test images: it knows no intact ones, and the masks of `label_masked` are made from the
    labels. The shape of the removed region is a leak that ROAD describes (arXiv 2202.00449).
    """
    shares = evidence.class_share.values()
    constant = 100 * max(shares) / sum(shares) / len(shares)
    warnings = []
    for name, arm in config["arms"].items():
        reached = 100 * _mean_iou(evidence.final, name, "self_masked")
        if (arm or {}).get("fill") == "mask" and reached - constant > config["evaluation"]["margin"]:
            warnings.append(
                f"The masks leak: a network that sees the masks alone ({name}) reaches mean IoU {reached:.1f} %, where "
                f"always predicting the commonest class gives {constant:.1f} %; the shape of what is removed tells the "
                "labels."
            )
    return warnings


def warn_of_low_start(evidence: Evidence, config: Mapping[str, Any], measure: str) -> list[str]:
    """Warn of a smaller loss that may come from having less to lose: the arm is worse on intact images."""
    table, method = evidence.contrasts, config["report"]["method"]
    table = table[(table["arm"] == method) & (table["comparator"] == config["evaluation"]["comparators"][0])]
    start = "mean_iou" if measure == "corruption_drop" else "binary_iou"
    whole = "all" if measure == "corruption_drop" else "foreground"
    is_start = (table["measure"] == start) & (table["class"] == whole) & (table["protocol"] == "intact")
    lower = table[is_start & (table["decision"] == "refuted")]["threshold"]
    smaller = table[(table["measure"] == measure) & (table["decision"] == "supported")]["threshold"]
    return [
        f"Less to lose: at top {threshold} % {method} is worse in {MEASURES[start].name} on intact images; a smaller "
        "loss may come from that. Compare the scores on the changed images themselves."
        for threshold in smaller
        if threshold in set(lower)
    ]


def _mean_iou(final: pd.DataFrame, arm: str, protocol: str) -> float:
    """Return an arm's mean IoU over all classes, averaged over thresholds and seeds; NaN if it was not measured."""
    is_mean_iou = (final["measure"] == "mean_iou") & (final["class"] == "all")
    return final[is_mean_iou & (final["arm"] == arm) & (final["protocol"] == protocol)]["value"].mean()
