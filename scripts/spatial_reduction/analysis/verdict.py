"""What the experiment shows, in words: an answer to each hypothesis, its numbers, and what stands in the way of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from spatial_reduction.analysis.caveats import (
    Evidence,
    warn_of_collapse,
    warn_of_data,
    warn_of_few_seeds,
    warn_of_low_start,
    warn_of_mask_leak,
    warn_of_unequal_compute,
    warn_of_weak_baseline,
)
from spatial_reduction.analysis.measures import (
    DECISIONS,
    MEASURES,
    PROTOCOLS,
    deciding_measures,
    format_p,
    measured_group,
)
from spatial_reduction.runtime.plain_text import as_markdown

QUESTIONS = {
    "H1": "Does it improve accuracy?",
    "H1b": "Does it improve robustness to corrupted images?",
    "H2": "Does it learn faster?",
    "H3": "Does it rely less on the background?",
}


@dataclass(frozen=True)
class Answer:
    """The answer to one hypothesis, or a part of one.

    Attributes:
        hypothesis: H1, H1b, H2 or H3.
        question: in words.
        decision: supported, refuted, equivalent, undecided, mixed (thresholds disagree) or "not measured".
        headline: one sentence.
        findings: one sentence per contrast that decides.
        secondary: one per contrast that is reported with it and decides nothing.
        warnings: what touches this claim, to be read before it.
    """

    hypothesis: str
    question: str
    decision: str
    headline: str
    findings: list[str]
    secondary: list[str]
    warnings: list[str]


@dataclass(frozen=True)
class Verdict:
    """Attributes:
    answers: one per hypothesis.
    warnings: what touches all of them, to be read before them.
    """

    answers: list[Answer]
    warnings: list[str]


def reach_verdict(evidence: Evidence, config: Mapping[str, Any]) -> Verdict:
    """Answer hypotheses 1 (accuracy; robustness), 2 (convergence) and 3 (reliance on the background).

    Each is decided by one measure against the primary comparator: the report's measure on intact test images, the
    loss when images are corrupted, the area under the validation curve over equal steps, and the loss of the foreground
    when the background is swapped. Related measures, those of objects among them, are reported below it and decide
    nothing.

    Args:
        evidence: the tables.
        config: sections `evaluation` and `report` are used.
    """
    measure, method = config["report"]["measure"], config["report"]["method"]
    primary = config["evaluation"]["comparators"][0]
    compute, leak = warn_of_unequal_compute(evidence, method, primary), warn_of_mask_leak(evidence, config)
    secondary = {
        "H1": [
            (measure, "self_masked"),
            (measure, "label_masked"),
            *_other_qualities(measure, config["evaluation"]["measures"]),
        ],
        "H1b": [("mean_iou", "corrupted")],
        "H2": [("steps_to_95", "validation")],
        "H3": [("background_blurred_drop", "background_blurred"), ("binary_iou", "background_swapped")],
    }
    caveats = {
        "H1": compute + leak,
        "H1b": compute + warn_of_low_start(evidence, config, "corruption_drop"),
        "H2": [],
        "H3": warn_of_low_start(evidence, config, "background_swapped_drop"),
    }
    answers = [
        _answer(hypothesis, decider, secondary[hypothesis], caveats[hypothesis], evidence.contrasts, config)
        for hypothesis, decider in deciding_measures(measure).items()
    ]
    warnings = warn_of_few_seeds(len(config["seeds"])) + warn_of_data(evidence)
    warnings += warn_of_weak_baseline(evidence, primary, config["report"]["least_baseline_iou"]) + warn_of_collapse(
        evidence
    )
    return Verdict(answers, warnings)


def describe_contrast(row: Mapping[str, Any]) -> str:
    """Return one sentence with the effect, its interval, n, p and the decision."""
    kept = "" if row["threshold"] == "100" else f" (top {row['threshold']} %)"
    measure, size, against = MEASURES[row["measure"]], abs(row["difference"]), row["comparator"]
    if size == float("inf"):
        effect = f"is never reached, but by {against}" if row["difference"] > 0 else f"is reached, but not by {against}"
    elif size == 0 or size != size:
        effect = f"is no different from that of {against}"
    else:
        way = "higher" if row["difference"] > 0 else "lower"
        effect = f"is {size:.{measure.digits}f} {measure.unit} {way} than that of {against}"
    numbers = f"({_numbers(row, measure.digits)}): {row['decision']}, {DECISIONS[row['decision']]}."
    return f"{row['arm']}{kept}: {_named(row['measure'], row['protocol'])} {effect} {numbers}"


def write_verdict(verdict: Verdict, title: str) -> str:
    """Return the verdict as Markdown: warnings above what they touch, every answer alike."""
    lines = [f"# {as_markdown(title)}", "", *_bullets(verdict.warnings, "**Read first.** ")]
    lines += ["| hypothesis | question | verdict |", "|---|---|---|"]
    lines += [f"| {each.hypothesis} | {each.question} | **{each.decision}** |" for each in verdict.answers]
    for each in verdict.answers:
        lines += ["", f"## {each.hypothesis}. {each.question} {each.decision.capitalize()}", ""]
        lines += [*_bullets(each.warnings, "**Read first.** "), each.headline, "", *_bullets(each.findings)]
        lines += ["Secondary outcomes:", "", *_bullets(each.secondary)] if each.secondary else []
        lines = lines if lines[-1] else lines[:-1]
    return "\n".join(lines) + "\n"


def _answer(
    hypothesis: str,
    deciding: tuple[str, str],
    secondary: Sequence[tuple[str, str]],
    warnings: list[str],
    table: pd.DataFrame,
    config: Mapping[str, Any],
) -> Answer:
    """Answer by one (measure, protocol) against the primary comparator.

    Its contrasts with the other comparators, and the secondary outcomes, are described and decide nothing.
    """
    method, primary = config["report"]["method"], config["evaluation"]["comparators"][0]
    group = config["report"]["class_group"]
    about = [
        table[
            (table["arm"] == method)
            & (table["measure"] == measure)
            & (table["protocol"] == protocol)
            & (
                table["class"]
                == (
                    measured_group(measure, group)
                    if protocol in ("intact", "self_masked", "label_masked")
                    else table["class"]
                )
            )
        ]
        for measure, protocol in (deciding, *secondary)
    ]
    main, *beneath = (rows[rows["comparator"] == primary] for rows in about)
    others = about[0][about[0]["comparator"] != primary]
    decisions = list(dict.fromkeys(main["decision"]))
    decision = "not measured" if not decisions else decisions[0] if len(decisions) == 1 else "mixed"
    return Answer(
        hypothesis=hypothesis,
        question=QUESTIONS[hypothesis],
        decision=decision,
        headline=_headline(main, decision, method, primary, _named(*deciding)),
        findings=[describe_contrast(row) for _, row in main.iterrows()],
        secondary=[describe_contrast(row) for rows in (others, *beneath) for _, row in rows.iterrows()],
        warnings=warnings if len(main) else [],
    )


def _other_qualities(measure: str, measures: Sequence[str]) -> list[tuple[str, str]]:
    """List what else is told of the quality on intact images where objects are measured."""
    overlap = ["mean_iou"] if MEASURES[measure].is_of_objects else []
    objects = [name for name in measures if MEASURES[name].is_of_objects and name != measure]
    return [(name, "intact") for name in overlap + objects]


def _headline(main: pd.DataFrame, decision: str, method: str, primary: str, what: str) -> str:
    if decision == "not measured" and method == primary:
        return f"Nothing is compared: {method} is the primary comparator itself."
    if decision == "mixed":
        parts = ", ".join(f"{row['decision']} at top {row['threshold']} %" for _, row in main.iterrows())
        return f"It depends on how much is kept. {method} against {primary} in {what}: {parts}."
    everywhere = "" if len(main) == 1 else ", at every threshold"
    return {
        "supported": f"Yes: {method} does better than {primary} in {what}{everywhere}.",
        "refuted": f"No: {method} does worse than {primary} in {what}{everywhere}.",
        "equivalent": f"No: {method} and {primary} do not differ by a margin that matters in {what}{everywhere}.",
        "undecided": f"Undecided: these runs do not tell whether {method} does better than {primary} in {what}.",
        "not measured": f"Not measured: this experiment compares no {what}.",
    }[decision]


def _named(measure: str, protocol: str) -> str:
    return MEASURES[measure].name + ("" if MEASURES[measure].names_images else f" on {PROTOCOLS[protocol]}")


def _numbers(row: Mapping[str, Any], digits: int) -> str:
    if row["n"] < 2:
        return "n = 1 seed, no interval"
    interval = f"95 % CI {row['ci_low']:+.{digits}f} to {row['ci_high']:+.{digits}f}, "
    p_value, p_holm = format_p(row["p_value"]), format_p(row["p_holm"])
    tests = f"n = {row['n']} seeds, p {p_value if p_value[0] == '<' else f'= {p_value}'}, after Holm {p_holm}"
    return (interval if row["ci_low"] == row["ci_low"] else "") + tests


def _bullets(sentences: Sequence[str], opening: str = "") -> list[str]:
    return [*(f"- {opening}{sentence}" for sentence in sentences), *([""] if sentences else [])]
