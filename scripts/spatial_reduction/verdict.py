"""What the experiment shows, in words: hypothesis 1, its numbers, and what stands in the way of believing them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from spatial_reduction.statistics import FEWEST_SEEDS
from spatial_reduction.wording import DECISIONS, MEASURE_NAMES, format_p, measured_group


@dataclass(frozen=True)
class Verdict:
    """Attributes:
    decision: supported, refuted, equivalent, undecided, or mixed (thresholds disagree).
    headline: one sentence.
    findings: one sentence per contrast.
    warnings: what touches the claim, to be read before it.
    """

    decision: str
    headline: str
    findings: list[str]
    warnings: list[str]


def reach_verdict(
    contrasts: pd.DataFrame, final: pd.DataFrame, steps: pd.DataFrame, config: Mapping[str, Any]
) -> Verdict:
    """Answer whether the method beats the primary comparator on intact test images (hypothesis 1).

    Args:
        contrasts: `contrasts.csv`.
        final: rows of `metrics.csv` of each chain's last iteration on the test images.
        steps: arm, threshold, seed, steps: optimiser steps of each chain.
        config: sections `evaluation` and `report` are used.
    """
    method, measure = config["report"]["method"], config["report"]["measure"]
    primary = config["evaluation"]["comparators"][0]
    group = measured_group(measure, config["report"]["class_group"])
    about = contrasts[(contrasts["arm"] == method) & (contrasts["measure"] == measure) & (contrasts["class"] == group)]
    main = about[about["comparator"] == primary]
    decisions = list(dict.fromkeys(main["decision"]))
    return Verdict(
        decision=decisions[0] if len(decisions) == 1 else "mixed",
        headline=_headline(main, method, primary, measure),
        findings=[describe_contrast(row) for _, row in about.iterrows()],
        warnings=_warnings(main, final, steps, config),
    )


def describe_contrast(row: Mapping[str, Any]) -> str:
    """Return one sentence with the effect, its interval, n, p and the decision."""
    kept = "" if row["threshold"] == "100" else f" (top {row['threshold']} %)"
    way = "higher" if row["difference"] >= 0 else "lower"
    if row["n"] < 2:
        numbers = "n = 1 seed, no interval"
    else:
        numbers = (
            f"95 % CI {row['ci_low']:+.2f} to {row['ci_high']:+.2f}, n = {row['n']} seeds, "
            f"p = {format_p(row['p_value'])}, after Holm {format_p(row['p_holm'])}"
        )
    return (
        f"{row['arm']}{kept} scores {abs(row['difference']):.2f} points {way} than {row['comparator']} "
        f"in {MEASURE_NAMES[row['measure']]} ({numbers}): {row['decision']}, {DECISIONS[row['decision']]}."
    )


def _headline(main: pd.DataFrame, method: str, primary: str, measure: str) -> str:
    what = f"{MEASURE_NAMES[measure]} on intact test images"
    if len(main) == 0:
        return f"Nothing is compared: {method} is the primary comparator itself."
    decisions = list(dict.fromkeys(main["decision"]))
    if len(decisions) > 1:
        parts = ", ".join(f"{row['decision']} at top {row['threshold']} %" for _, row in main.iterrows())
        return f"Does {method} beat {primary} in {what}? {parts[0].upper()}{parts[1:]}."
    return {
        "supported": f"Yes: {method} beats {primary} in {what}, at every threshold.",
        "refuted": f"No: {method} does worse than {primary} in {what}, at every threshold.",
        "equivalent": f"No: {method} and {primary} do not differ by a margin that matters in {what}, at any threshold.",
        "undecided": f"Undecided: these runs do not tell whether {method} beats {primary} in {what}.",
    }[decisions[0]]


def _warnings(main: pd.DataFrame, final: pd.DataFrame, steps: pd.DataFrame, config: Mapping[str, Any]) -> list[str]:
    warnings = []
    method, primary = config["report"]["method"], config["evaluation"]["comparators"][0]
    seeds = len(config["seeds"])
    if seeds < 2:
        warnings.append("One seed: no interval and no test can be given.")
    elif seeds < FEWEST_SEEDS:
        warnings.append(
            f"Few seeds: with n = {seeds} an exact Wilcoxon test cannot go below p = {2 / 2**seeds:.4g}, whatever the "
            f"effect; every claim then rests on the t distribution. Plan at least {FEWEST_SEEDS}, better 10."
        )
    counts = steps.groupby("arm")["steps"].agg(["min", "max"])
    if len(main) and tuple(counts.loc[method]) != tuple(counts.loc[primary]):
        warnings.append(
            f"Unequal compute: {method} took {counts.loc[method, 'max']:.0f} optimiser steps, {primary} "
            f"{counts.loc[primary, 'max']:.0f}; a difference may come from training longer."
        )
    is_mean_iou = (final["measure"] == "mean_iou") & (final["class"] == "all")
    base, gate = final[is_mean_iou & (final["arm"] == primary)]["value"].mean(), config["report"]["gate"]
    if gate is not None and base < gate:
        warnings.append(
            f"Weak baseline: {primary} reaches mean IoU {100 * base:.1f} %, below the gate of {100 * gate:.1f} %; "
            "it is not trained well enough to be the yardstick."
        )
    ious = final[final["measure"] == "iou"]
    predicted = ious[ious["value"] > 0].groupby(["arm", "threshold", "seed"]).size()
    for arm, threshold, seed in predicted[predicted == 1].index:
        warnings.append(f"Collapsed: {arm}, top {threshold} %, seed {seed} predicts one class everywhere.")
    return warnings
