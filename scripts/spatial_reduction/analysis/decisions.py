"""Which contrasts decide, how their tests are adjusted, and what each says.

One primary family: the method against the primary comparator in hypothesis 1, at all thresholds. One secondary family:
the same in hypotheses 1b, 2 and 3. One family for each control: the method against it in hypothesis 1. Within a family
the tests are adjusted (Holm 1979), those of equivalence likewise; all else is exploratory and decides nothing.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from spatial_reduction.analysis.measures import HYPOTHESES, LOSSES, MEASURES, Score, deciding_measures, measured_group
from spatial_reduction.analysis.statistics import LEVEL, MINIMUM_SEEDS, adjust_holm, decide, seeds_needed

PRIMARY, SECONDARY, CONTROL, EXPLORATORY = "primary", "secondary", "control", "exploratory"
NO_SPREAD = 1e-4  # of a difference: a smaller spread is rounding error
STATUSES = ("not_learnt", "not_comparable", "undefined")  # of a contrast that no test can decide


def family_of(
    arm: str,
    comparator: str,
    score: Score,
    evaluation: Mapping[str, Any],
    report: Mapping[str, Any],
) -> str:
    """Return the family of a contrast: primary, secondary, control or exploratory."""
    deciders = {hypothesis: deciding_score(hypothesis, report) for hypothesis in HYPOTHESES}
    if arm != report["method"] or score not in deciders.values():
        return EXPLORATORY
    if comparator == evaluation["comparators"][0]:
        return PRIMARY if score == deciders["H1"] else SECONDARY
    return CONTROL if comparator in evaluation["controls"] and score == deciders["H1"] else EXPLORATORY


def deciding_score(hypothesis: str, report: Mapping[str, Any]) -> Score:
    """Return what is scored in the contrasts that decide a hypothesis."""
    measure, protocol = deciding_measures(report["measure"])[hypothesis]
    group = measured_group(measure, report["class_group"] if protocol == "intact" else "all")
    return Score(protocol, measure, group)


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """Add the decisions of contrasts: columns `p_holm`, `p_equivalence_holm`, `less_to_lose`, `decision`.

    decision: for a contrast in a family supported, refuted, equivalent or undecided (see `statistics.decide`), for an
    exploratory one empty. For either, where no test can decide: `not_learnt` (one of the two arms has not learnt),
    `not_comparable` (the two are identical in all that is compared) or `undefined` (no difference, or no variance). A
    claim needs MINIMUM_SEEDS. A claim about a loss on changed images also needs a score on them that is no lower
    (supported) or no higher (refuted), as an arm that scores low has less to lose.
    less_to_lose: the score on intact images is lower by more than the margin.

    Args:
        table: columns family, comparator, measure, n, difference, p_value, p_equivalence, seed_sd, image_sd, margin,
            level (of its tests), is_learnt, is_same, start_difference and level_difference (of losses: of the score
            on intact and on changed images).
    """
    table = table.copy()
    decides = table["family"] != EXPLORATORY
    tests = table[decides].groupby(["family", "comparator"], sort=False)
    for column, adjusted in (("p_value", "p_holm"), ("p_equivalence", "p_equivalence_holm")):
        table[adjusted] = tests[column].transform(lambda values: adjust_holm(values.to_numpy(dtype=float)))
    sign = np.where(table["measure"].map(lambda name: MEASURES[name].higher_is_better), 1.0, -1.0)
    gain = sign * table["difference"].to_numpy(dtype=float)
    words = decide(table["p_equivalence_holm"], table["p_holm"], gain, table["level"])
    is_loss, lower = table["measure"].isin(list(LOSSES)), table["level_difference"]
    starts_lower = is_loss & (table["start_difference"] < -table["margin"])
    unsure = (words == "supported") & is_loss & ~(lower >= 0) | (words == "refuted") & is_loss & ~(lower <= 0)
    words = np.where(unsure | (table["n"] < MINIMUM_SEEDS), "undecided", words)
    has_no_spread = np.hypot(table["image_sd"], table["seed_sd"]) < NO_SPREAD * table["difference"].abs()
    statuses = [
        ~table["is_learnt"].astype(bool),
        table["is_same"].astype(bool),
        table["difference"].isna() | has_no_spread,
    ]
    table["less_to_lose"] = starts_lower
    table["decision"] = np.select(statuses, STATUSES, default=np.where(decides, words, ""))
    return table


def plan_seeds(table: pd.DataFrame) -> pd.Series:
    """Return how many seeds would settle each undecided contrast, see `statistics.seeds_needed`; NaN of the others.

    At the level of the strictest test of its family. Infinite where more seeds alone will not settle it: the score on
    changed images does not go with the loss.

    Args:
        table: as `judge` returns it.
    """
    tests = table.groupby(["family", "comparator"])["p_value"].transform("count").clip(lower=1)
    is_held_back = (
        table["measure"].isin(list(LOSSES)) & (table["p_holm"] < table["level"]) & (table["n"] >= MINIMUM_SEEDS)
    )
    columns = (table[name] for name in ("level", "seed_sd", "image_sd", "margin"))
    needed = [
        float("nan") if decision != "undecided" else float("inf") if never else seeds_needed(*spreads, level / count)
        for decision, never, count, level, *spreads in zip(
            table["decision"], is_held_back, tests, *columns, strict=True
        )
    ]
    return pd.Series(needed, index=table.index)


def agree(decisions: Mapping[str, str], interaction: float, level: float = LEVEL) -> str:
    """Return one word for a hypothesis from its decisions, by threshold.

    The decision that all thresholds share; `depends` where they differ and the test of arm x threshold says so too; or
    `partly`: decided at some thresholds, undecided at others.

    Args:
        interaction: smallest adjusted p-value of the differences between thresholds; NaN without any.
    """
    words = list(dict.fromkeys(decisions.values()))
    if len(words) <= 1:
        return words[0] if words else "not_measured"
    if not {"supported", "refuted", "equivalent"} & set(words):
        return "undecided" if "undecided" in words else words[0]
    return "depends" if {"supported", "refuted"} & set(words) and interaction < level else "partly"
