"""What stands in the way of believing a claim: each function returns the warnings of one kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spatial_reduction.analysis.convergence import SCORE, STEPS
from spatial_reduction.analysis.decisions import deciding_score
from spatial_reduction.analysis.looks import claims_where_nothing_is
from spatial_reduction.analysis.measures import LOSSES, MEASURES, margin_of
from spatial_reduction.analysis.statistics import FEWEST_SEEDS, LEVEL, MINIMUM_SEEDS
from spatial_reduction.analysis.tables import CHAIN


@dataclass(frozen=True)
class Evidence:
    """The tables that a verdict rests on.

    Attributes:
        contrasts: `contrasts.csv`; thresholds as text, an empty decision is "".
        interactions: `interactions.csv`.
        references: `references.csv`.
        final: rows of `metrics.csv` of each chain's last iteration on the test images, all protocols.
        history: `history.csv`.
        class_share: {class: per cent of the training pixels}.
        parted_twins: number of groups of identical or nearly identical images that lie in more than one split.
        absent_classes: "class (split)" where no image of a split has a class.
        earlier_looks: numbers of seeds with which the same was compared before, see `looks.read_earlier_looks`.
    """

    contrasts: pd.DataFrame
    interactions: pd.DataFrame
    references: pd.DataFrame
    final: pd.DataFrame
    history: pd.DataFrame
    class_share: Mapping[str, float]
    parted_twins: int = 0
    absent_classes: Sequence[str] = ()
    earlier_looks: Sequence[int] = ()

    @property
    def seeds(self) -> int:
        """Number of seeds that the experiment ended with."""
        return int(self.final["seed"].nunique())

    @property
    def false_claims(self) -> float:
        """Type I error of the primary question over all looks: how often it claims an effect where there is none."""
        return claims_where_nothing_is([*self.earlier_looks, self.seeds]) if self.earlier_looks else LEVEL

    @property
    def steps(self) -> pd.DataFrame:
        """Arm, threshold, seed, steps: optimiser steps of each chain."""
        return self.history.groupby(CHAIN)[STEPS].max().rename("steps").reset_index()

    @property
    def hours_per_seed(self) -> float:
        """Hours that all trainings of a seed took; one that chains share counts once."""
        ends = self.history.groupby([*CHAIN, "iteration"])["cumulative_seconds"].max().reset_index()
        begun = ends.groupby(CHAIN)["cumulative_seconds"].shift(fill_value=0)
        took = ends.assign(seconds=ends["cumulative_seconds"] - begun).drop_duplicates(["seed", "iteration", "seconds"])
        return float(took["seconds"].sum() / took["seed"].nunique() / 3600)


def find_caveats(evidence: Evidence, config: Mapping[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the warnings that touch all answers, and those of each hypothesis."""
    method, primary = config["report"]["method"], config["evaluation"]["comparators"][0]
    general = warn_of_few_seeds(evidence.seeds) + tell_looks(evidence, config) + warn_of_added_seeds(evidence)
    general += warn_of_weak_baseline(evidence, primary, config["report"]["least_baseline_iou"])
    general += warn_of_nothing_learnt(evidence, config) + warn_of_collapse(evidence)
    general += warn_of_data(evidence) + warn_of_still_improving(evidence, primary, config)
    compute = warn_of_unequal_compute(evidence, method, primary)
    own = {"H1": compute + warn_of_mask_leak(evidence, config), "H1b": compute, "H2": [], "H3": []}
    for hypothesis in ("H1b", "H3"):
        own[hypothesis] = own[hypothesis] + warn_of_low_start(evidence, hypothesis, config)
    return general, own


def tell_looks(evidence: Evidence, config: Mapping[str, Any]) -> list[str]:
    """Say at which look an experiment whose seeds are added by looks stopped, and what its interval covers."""
    if not isinstance(config["seeds"], Mapping):
        return []
    looks = config["seeds"]["looks"]
    level = evidence.contrasts[evidence.contrasts["family"] == "primary"]["level"].min()
    planned = ", ".join(map(str, looks))
    return [
        (
            f"Looks planned after {planned} seeds; it ended after {evidence.seeds}. Primary contrasts are tested at "
            f"{level:.4f} there, their intervals cover {100 * (1 - level):.2f} %. Over all looks together, at most 5 % "
            "of experiments without an effect claim one."
        )
    ]


def warn_of_added_seeds(evidence: Evidence) -> list[str]:
    """Warn that seeds were added after results had been seen: repeated tests claim effects that do not exist."""
    if not evidence.earlier_looks:
        return []
    before = ", ".join(map(str, evidence.earlier_looks))
    return [
        (
            f"Seeds were added: this was compared with {before} seeds before, and now with {evidence.seeds}. Tested at "
            f"{LEVEL:g} each time, about {100 * evidence.false_claims:.0f} % of experiments without an effect claim "
            "one. Looks that are planned with `seeds: {looks: [...]}` keep this at 5 %."
        )
    ]


def warn_of_few_seeds(seeds: int) -> list[str]:
    """Warn below the fewest seeds with which a distribution-free test can reach 5 %."""
    if seeds < MINIMUM_SEEDS:
        what = "no interval and no test can be given" if seeds < 2 else "an interval of two is too wide to say anything"
        return [f"{seeds} seed{'s' * (seeds > 1)}: {what}; a claim needs at least {MINIMUM_SEEDS}."]
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
        f"Duplicates: {twins} groups of identical or nearly identical images lie in more than one split, so the splits "
        "are not independent (dataset.h5 names the images: parted_twin_names)."
    )
    missing = f"Absent classes: no image has {absent}; means over classes leave them out there."
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
    taken, other = (" to ".join(f"{steps:.0f}" for steps in sorted(set(counts.loc[arm]))) for arm in (method, primary))
    if taken == other:
        return []
    return [
        (
            f"Unequal compute: {method} took {taken} optimiser steps, {primary} {other}; a difference may come from "
            "training longer."
        )
    ]


def warn_of_collapse(evidence: Evidence) -> list[str]:
    """Warn of every arm and threshold with a last model that predicts one class everywhere."""
    final = evidence.final
    ious = final[(final["measure"] == "iou") & (final["protocol"] == "intact")]
    predicted = ious[ious["value"] > 0].groupby(CHAIN).size()
    collapsed = predicted[predicted == 1].reset_index().groupby(["arm", "threshold"], sort=False)["seed"]
    named = [
        f"{arm} at top {threshold} % (seeds {', '.join(map(str, seeds))})" for (arm, threshold), seeds in collapsed
    ]
    if not named:
        return []
    return [f"Collapsed: {', '.join(named)} predict one class everywhere; a comparison with them is meaningless."]


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
        if (arm or {}).get("fill") == "mask" and reached - constant > margin_of(
            "mean_iou", config["evaluation"]["margins"]
        ):
            warnings.append(
                f"The masks leak: a network that sees the masks alone ({name}) reaches mean IoU {reached:.1f} %, where "
                f"always predicting the commonest class gives {constant:.1f} %; the shape of what is removed tells the "
                "labels."
            )
    return warnings


def warn_of_low_start(evidence: Evidence, hypothesis: str, config: Mapping[str, Any]) -> list[str]:
    """Warn where the method scores lower on intact images: a smaller loss may come from having less to lose."""
    protocol, measure, group = deciding_score(hypothesis, config["report"])
    table, method = evidence.contrasts, config["report"]["method"]
    rows = table[(table["arm"] == method) & (table["comparator"] == config["evaluation"]["comparators"][0])]
    rows = rows[(rows["measure"] == measure) & (rows["protocol"] == protocol) & (rows["class"] == group)]
    places = " and ".join(f"{threshold} %" for threshold in rows[rows["less_to_lose"].astype(bool)]["threshold"])
    if not places:
        return []
    return [
        (
            f"Less to lose: at top {places} {method} scores lower in {MEASURES[LOSSES[measure]].name} on intact "
            "images, so it can lose less; a claim also needs a score on the changed images that is no lower."
        )
    ]


def warn_of_nothing_learnt(evidence: Evidence, config: Mapping[str, Any]) -> list[str]:
    """Warn of every arm and threshold whose mean IoU is no better than that of a predictor that sees no image."""
    table = evidence.references
    table = table[(table["split"] == "test") & (table["measure"] == "mean_iou") & (table["class"] == "all")]
    best = table.loc[table["value"].idxmax()]
    least = 100 * best["value"] + margin_of("mean_iou", config["evaluation"]["margins"])
    final = evidence.final
    rows = final[(final["measure"] == "mean_iou") & (final["class"] == "all") & (final["protocol"] == "intact")]
    reached = 100 * rows.groupby(["arm", "threshold"], sort=False)["value"].mean()
    failed = ", ".join(
        f"{arm}{'' if threshold == '100' else f' at top {threshold} %'} ({score:.1f} %)"
        for (arm, threshold), score in reached.items()
        if score <= least
    )
    if not failed:
        return []
    return [
        (
            f"Nothing learnt: on intact test images the mean IoU of {failed} is no better than the "
            f"{100 * best['value']:.1f} % of the {best['predictor'].replace('_', ' ')}, which sees no image; nothing "
            "is claimed about them."
        )
    ]


def warn_of_still_improving(evidence: Evidence, primary: str, config: Mapping[str, Any]) -> list[str]:
    """Warn where the primary comparator still improves at its end: a difference in accuracy may then be one in speed.

    By the slope of a straight line through the validation scores of the last fifth of its epochs, at least two.
    """
    gains = []
    for _, curve in evidence.history[evidence.history["arm"] == primary].groupby(CHAIN):
        score = 100 * curve.sort_values(STEPS)[SCORE].to_numpy(dtype=float)
        last = score[-max(2, len(score) // 5) :]
        if len(last) > 1:
            gains.append(np.polyfit(np.arange(len(last)), last, 1)[0] * (len(last) - 1))
    margin = margin_of("mean_iou", config["evaluation"]["margins"])
    if not gains or not np.mean(gains) > margin:
        return []
    return [
        (
            f"Still improving: {primary} gains {np.mean(gains):.1f} points of validation mean IoU over the last fifth "
            "of its epochs; longer training may change the answers, and a difference in accuracy may be one in speed."
        )
    ]


def _mean_iou(final: pd.DataFrame, arm: str, protocol: str) -> float:
    """Return an arm's mean IoU over all classes, averaged over thresholds and seeds; NaN if it was not measured."""
    is_mean_iou = (final["measure"] == "mean_iou") & (final["class"] == "all")
    return final[is_mean_iou & (final["arm"] == arm) & (final["protocol"] == protocol)]["value"].mean()
