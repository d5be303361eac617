"""What the experiment shows, in words: an answer to each hypothesis, its numbers, and what stands in the way of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spatial_reduction.analysis.caveats import Evidence, find_caveats
from spatial_reduction.analysis.decisions import EXPLORATORY, agree, deciding_score
from spatial_reduction.analysis.ladder import MASKING, METHOD, TRAINING, Step, build_ladder
from spatial_reduction.analysis.measures import (
    DECISIONS,
    HYPOTHESES,
    LOSSES,
    MEASURES,
    PROTOCOLS,
    format_p,
    measured_group,
)
from spatial_reduction.analysis.statistics import LEVEL, MINIMUM_SEEDS
from spatial_reduction.runtime.plain_text import as_markdown, counted

QUESTIONS = {
    "H1": "Does it improve accuracy?",
    "H1b": "Does it improve robustness to corrupted images?",
    "H2": "Does it learn faster?",
    "H3": "Does it rely less on the background?",
}
FAMILY = {"H1": "primary", "H1b": "secondary", "H2": "secondary", "H3": "secondary"}
# Of a whole hypothesis, beside the decisions of a contrast.
SUMMARIES = {"partly": "decided in part", "depends": "it depends on how much is kept", "not_measured": "not measured"}
EXPLAINED = {
    "supported": "it is better",
    "refuted": "it is worse",
    "equivalent": "any difference is too small to matter",
    "undecided": "these runs do not decide",
    "not_learnt": "one of the two predicts no better than a predictor that sees no image, so nothing is claimed",
    "not_comparable": "the two are identical in all that would be compared",
    "undefined": "there is no number, or no variance, to test",
}


@dataclass(frozen=True)
class Answer:
    """The answer to one hypothesis, or to whether the method is better than a control.

    Attributes:
        hypothesis: H1, H1b, H2, H3, or the control's name.
        question: in words.
        decision: see `decisions.agree`.
        headline: one sentence.
        findings: the contrasts that decide, rows of `contrasts.csv`, one per threshold.
        outlook: what would settle what is undecided, or nothing.
        warnings: what touches this claim, to be read before it.
    """

    hypothesis: str
    question: str
    decision: str
    headline: str
    findings: list[Mapping[str, Any]]
    outlook: str
    warnings: list[str]

    @property
    def label(self) -> str:
        """The decision in print; where thresholds differ, that of each."""
        if self.decision not in ("partly", "depends"):
            return self.decision.replace("_", " ")
        return ", ".join(_at(row) for row in self.findings)


@dataclass(frozen=True)
class Verdict:
    """Attributes:
    answers: one per hypothesis.
    controls: one per control.
    ladder: see `ladder.build_ladder`.
    exploratory: rows of `contrasts.csv` of the method that decide nothing.
    seeds: how many.
    false_claims: see `caveats.Evidence`.
    warnings: what touches all answers, to be read before them.
    """

    answers: list[Answer]
    controls: list[Answer]
    ladder: list[Step]
    exploratory: list[Mapping[str, Any]]
    seeds: int
    false_claims: float
    warnings: list[str]


def reach_verdict(evidence: Evidence, config: Mapping[str, Any]) -> Verdict:
    """Answer hypotheses 1 (accuracy; robustness), 2 (convergence) and 3 (reliance on the background).

    Each is decided by one measure against the primary comparator (`measures.deciding_measures`), in the families of
    `decisions`. All other contrasts decide nothing.

    Args:
        evidence: the tables.
        config: sections `evaluation` and `report` are used.
    """
    evaluation, report, table = config["evaluation"], config["report"], evidence.contrasts
    general, own = find_caveats(evidence, config)
    answers = [_answer(hypothesis, own[hypothesis], evidence, config) for hypothesis in HYPOTHESES]
    controls = [_control(control, evidence, config) for control in evaluation["controls"]]
    return Verdict(
        answers=answers,
        controls=[each for each in controls if each.findings],
        ladder=build_ladder(table, evaluation, report),
        exploratory=_exploratory(table, evaluation, report),
        seeds=evidence.seeds,
        false_claims=evidence.false_claims,
        warnings=general,
    )


def _exploratory(
    table: pd.DataFrame, evaluation: Mapping[str, Any], report: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Return the contrasts that are shown beside the answers.

    The method against the primary comparator in what else is measured, over the report's classes; and against all
    others in what decides a hypothesis.
    """
    (primary, *_), group = evaluation["comparators"], report["class_group"]
    deciding = [deciding_score(hypothesis, report) for hypothesis in HYPOTHESES]
    found = table[(table["family"] == EXPLORATORY) & (table["arm"] == report["method"])].to_dict("records")
    return [
        row
        for row in found
        if (row["protocol"], row["measure"], row["class"]) in deciding
        or (row["comparator"] == primary and row["class"] == measured_group(row["measure"], _grouped(row, group)))
    ]


def _grouped(row: Mapping[str, Any], group: str) -> str:
    """Return the class group of a row's protocol: changed images and learning curves are measured over all classes."""
    return group if row["protocol"] in ("intact", "self_masked", "label_masked") else "all"


def _answer(hypothesis: str, warnings: list[str], evidence: Evidence, config: Mapping[str, Any]) -> Answer:
    evaluation, report, table = config["evaluation"], config["report"], evidence.contrasts
    protocol, measure, group = deciding_score(hypothesis, report)
    method, primary = report["method"], evaluation["comparators"][0]
    is_family = (table["family"] == FAMILY[hypothesis]) & (table["measure"] == measure)
    rows = table[is_family & (table["protocol"] == protocol) & (table["class"] == group)].to_dict("records")
    crossed = evidence.interactions
    is_crossed = (crossed["measure"] == measure) & (crossed["protocol"] == protocol) & (crossed["class"] == group)
    interaction = float(crossed[is_crossed]["p_holm"].min())
    decision = agree({row["threshold"]: row["decision"] for row in rows}, interaction)
    subject = f"{method} and {primary}" if decision in ("equivalent", "not_comparable") else method
    if not rows and method == primary:
        headline = f"Nothing is compared: {method} is the primary comparator itself."
    else:
        headline = _headline(decision, rows, subject, primary, _named(measure, protocol), interaction)
    return Answer(
        hypothesis=hypothesis,
        question=QUESTIONS[hypothesis],
        decision=decision,
        headline=headline,
        findings=rows,
        outlook=_outlook(rows, evidence.hours_per_seed),
        warnings=warnings if rows else [],
    )


def _control(control: str, evidence: Evidence, config: Mapping[str, Any]) -> Answer:
    table, method = evidence.contrasts, config["report"]["method"]
    rows = table[(table["family"] == "control") & (table["comparator"] == control)].to_dict("records")
    decision = agree({row["threshold"]: row["decision"] for row in rows}, float("nan"))
    protocol, measure, _ = deciding_score("H1", config["report"])
    subject = f"{method} and {control}" if decision in ("equivalent", "not_comparable") else method
    return Answer(
        hypothesis=control,
        question=f"Does the content of the mask matter: is {method} better than {control}?",
        decision=decision,
        headline=_headline(decision, rows, subject, control, _named(measure, protocol), float("nan")),
        findings=rows,
        outlook=_outlook(rows, evidence.hours_per_seed),
        warnings=[],
    )


def _headline(
    decision: str, rows: Sequence[Mapping[str, Any]], subject: str, against: str, what: str, interaction: float
) -> str:
    everywhere = "" if len(rows) == 1 else ", at every threshold"
    if decision in ("partly", "depends"):
        parts = "; ".join(f"at top {row['threshold']} % {_clause(row, against)}" for row in rows)
        if decision == "depends":
            p = format_p(interaction)
            how = f"It depends on how much is kept (p {p if p[0] == '<' else f'= {p}'})"
            return f"{how}. In {what}, {parts}."
        test = "" if interaction != interaction else " Whether the thresholds differ from each other is undecided."
        return f"In part. In {what}, {parts}.{test}"
    if decision == "undecided" and rows[0]["n"] < MINIMUM_SEEDS:
        return f"Undecided: {counted(rows[0]['n'], 'seed')} cannot tell; a claim needs at least {MINIMUM_SEEDS}."
    return {
        "supported": f"Yes: {subject} does better than {against} in {what}{everywhere}.",
        "refuted": f"No: {subject} does worse than {against} in {what}{everywhere}.",
        "equivalent": f"No: {subject} do not differ by a margin that matters in {what}{everywhere}.",
        "undecided": f"Undecided: these runs do not show whether {subject} does better than {against} in {what}.",
        "not_learnt": f"No answer: {subject} or {against} has not learnt, so their {what} says nothing.",
        "not_comparable": f"No answer: {subject} are identical in all that is compared of {what}.",
        "undefined": f"No answer: there is no difference, or no variance, to test in {what}.",
        "not_measured": f"Not measured: this experiment compares no {what}.",
    }[decision]


def _outlook(rows: Sequence[Mapping[str, Any]], hours_per_seed: float) -> str:
    """Say how many seeds would decide what is undecided, and how long their trainings take."""
    open_rows = [row for row in rows if row["decision"] == "undecided"]
    if not open_rows or open_rows[0]["n"] < 2:
        return ""
    sentences = []
    if held := [row for row in open_rows if _is_held_back(row)]:
        places = " and ".join(f"{row['threshold']} %" for row in held)
        sentences.append(
            f"At top {places} the loss differs, but the score on the changed images does not differ the same way: an "
            "arm that scores lower has less to lose. More seeds will not settle this."
        )
    waiting = [row for row in open_rows if not _is_held_back(row)]
    finite = [row for row in waiting if np.isfinite(row["seeds_needed"])]
    margin = f"{waiting[0]['margin']:g} {MEASURES[waiting[0]['measure']].unit}" if waiting else ""
    if waiting and len(finite) < len(waiting):
        places = " and ".join(f"{row['threshold']} %" for row in waiting if row not in finite)
        sentences.append(
            f"No number of seeds can detect a difference of {margin} at top {places}: the test images alone vary too "
            "much; more of them would help."
        )
    if finite:
        n, needed = int(finite[0]["n"]), int(max(row["seeds_needed"] for row in finite))
        more = max(1, needed - n)
        sentences.append(
            f"About {n + more} seeds would detect a difference of {margin} with 80 % power at the variance seen here: "
            f"{more} more, {_hours(more * hours_per_seed)} of training as measured here."
        )
    return " ".join(sentences)


def _is_held_back(row: Mapping[str, Any]) -> bool:
    return row["measure"] in LOSSES and row["seeds_needed"] == float("inf") and row["p_holm"] < LEVEL


def describe_difference(row: Mapping[str, Any]) -> str:
    """Return a difference with its interval, as printed."""
    if row["difference"] != row["difference"]:
        return "not defined"
    form = f"+.{MEASURES[row['measure']].digits}f"
    interval = f" ({row['ci_low']:{form}} to {row['ci_high']:{form}})" if row["ci_low"] == row["ci_low"] else ""
    return f"{row['difference']:{form}}{interval}"


def write_verdict(verdict: Verdict, config: Mapping[str, Any]) -> str:
    """Return the verdict as Markdown: what was found, how sure it is, and then everything else."""
    lines = [f"# {as_markdown(config['report']['title'])}", "", f"**{verdict.answers[0].headline}**", ""]
    lines += [describe_ladder(verdict.ladder), ""] if verdict.ladder else []
    lines += _bullets(verdict.warnings, "**Read first.** ")
    lines += ["| | question | answer |", "|---|---|---|"]
    lines += [f"| {each.hypothesis} | {each.question} | **{each.label}** |" for each in verdict.answers]
    lines += [f"| | {each.question} | **{each.label}** |" for each in verdict.controls]
    lines += ["", *_ladder_table(verdict.ladder)] if verdict.ladder else []
    for each in [*verdict.answers, *verdict.controls]:
        lines += ["", f"## {each.hypothesis}. {each.question}", "", *_bullets(each.warnings, "**Read first.** ")]
        lines += [each.headline + (f" {each.outlook}" if each.outlook else "")]
        lines += ["", *_findings_table(each.findings)] if each.findings else []
    lines += ["", "## How sure is this?", "", *explain(verdict, config)]
    if verdict.exploratory:
        lines += ["", "## Everything else that was compared", ""]
        lines += [
            "These comparisons were not planned as answers. They decide nothing: an interval and a p-value each, "
        ]
        lines[-1] += "not adjusted for their number. All of them are in `contrasts.csv`."
        lines += ["", *_exploratory_table(verdict.exploratory)]
    return "\n".join(lines) + "\n"


def explain(verdict: Verdict, config: Mapping[str, Any]) -> list[str]:
    """Return what the words and numbers mean, a bullet each."""
    n, used = (
        verdict.seeds,
        {row["decision"] for each in [*verdict.answers, *verdict.controls] for row in each.findings},
    )
    words = "; ".join(f"*{word.replace('_', ' ')}*: {EXPLAINED[word]}" for word in DECISIONS if word in used)
    primary = config["evaluation"]["comparators"][0]
    lines = [
        (
            f"- Every number is a mean over {counted(n, 'seed')}: trainings that differ in initial weights and order "
            "of images. Each compares two arms with the same seed. Brackets hold the true difference in 95 of 100 "
            "experiments."
        ),
        (
            f"- H1 against {primary} is the primary question; H1b, H2, H3 are secondary; each control is a question of "
            f"its own. If there is no effect, the primary question claims one in at most "
            f"{100 * verdict.false_claims:.0f} of 100 experiments; so do the secondary ones together, and each control "
            "(p-values are adjusted by Holm's method)."
        ),
    ]
    return [*lines, f"- {words}."] if words else lines


def describe_ladder(ladder: Sequence[Step]) -> str:
    """Return what more training and what masking change, in a sentence each."""
    sentences = []
    for name in (TRAINING, MASKING, METHOD):
        steps = [step for step in ladder if step.name == name]
        if not steps:
            continue
        (arm, against), unit = steps[0].sides, MEASURES[steps[0].contrast["measure"]].unit
        found = f"{describe_difference(steps[0].contrast)} {unit}"  # the same at every threshold, but for masking
        if name == MASKING:
            found = ", ".join(f"{describe_difference(s.contrast)} {unit} at top {s.threshold} %" for s in steps)
        alone = " alone" if name == TRAINING else ""
        sentences.append(f"{name.capitalize()}{alone} ({arm} minus {against}) changes it by {found}.")
    return " ".join(sentences)


def _ladder_table(ladder: Sequence[Step]) -> list[str]:
    columns = list(dict.fromkeys((step.name, *step.sides) for step in ladder))
    unit = MEASURES[ladder[0].contrast["measure"]].unit
    head = [f"{name}: {arm} minus {against}" for name, arm, against in columns]
    lines = ["| top % | " + " | ".join(head) + " |", "|---" * (1 + len(columns)) + "|"]
    for threshold in dict.fromkeys(step.threshold for step in ladder):
        cells = {(step.name, *step.sides): step.contrast for step in ladder if step.threshold == threshold}
        shown = [_cell(cells[column]) if column in cells else "" for column in columns]
        lines.append(f"| {threshold} | " + " | ".join(shown) + " |")
    return [*lines, "", f"In {unit}, with 95 % intervals over seeds and test images."]


def _cell(row: Mapping[str, Any]) -> str:
    word = f", {_word(row)}" if row["decision"] else ""
    return describe_difference(row) + word


def _findings_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    about = MEASURES[rows[0]["measure"]]
    lines = [f"| top % | difference, {about.unit} (95 % interval) | p, adjusted | p of equivalence, adjusted | |"]
    lines += ["|---|---|---|---|---|"]
    for row in rows:
        tests = f"{format_p(row['p_holm'])} | {format_p(row['p_equivalence_holm'])}"
        lines.append(f"| {row['threshold']} | {describe_difference(row)} | {tests} | {_word(row)} |")
    better = "higher" if about.higher_is_better else "lower"
    name = _named(rows[0]["measure"], rows[0]["protocol"])
    return [
        *lines,
        "",
        f"{name[0].upper()}{name[1:]}: {better} is better; differences within ±{rows[0]['margin']:g} do not matter.",
    ]


def _exploratory_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| arm | top % | minus | measure | difference (95 % interval) | p |", "|---|---|---|---|---|---|"]
    for row in rows:
        measure = MEASURES[row["measure"]]
        name = f"{_named(row['measure'], row['protocol'])}, {measure.unit}"
        if row["class"] not in ("all", "foreground"):
            name += f" ({row['class'].replace('_', ' ')})"
        value = describe_difference(row) + (f", {_word(row)}" if row["decision"] or row["less_to_lose"] else "")
        where = f"| {row['arm']} | {row['threshold']} | {row['comparator']} "
        lines.append(f"{where}| {name} | {value} | {format_p(row['p_value'])} |")
    return lines


def _word(row: Mapping[str, Any]) -> str:
    """Return a decision in print, with the mark of an arm that has less to lose."""
    words = [row["decision"].replace("_", " ")] if row["decision"] else []
    return ", ".join([*words, *(["less to lose"] if row["less_to_lose"] else [])])


def _at(row: Mapping[str, Any]) -> str:
    return f"{row['decision'].replace('_', ' ')} at top {row['threshold']} %"


def _clause(row: Mapping[str, Any], against: str) -> str:
    """Return what one threshold says, as a part of a sentence."""
    arm = row["arm"]
    return {
        "supported": f"{arm} does better than {against}",
        "refuted": f"{arm} does worse than {against}",
        "equivalent": f"{arm} and {against} do not differ by a margin that matters",
        "undecided": "it is undecided",
    }.get(row["decision"], f"there is no answer ({row['decision'].replace('_', ' ')})")


def _named(measure: str, protocol: str) -> str:
    return MEASURES[measure].name + ("" if MEASURES[measure].names_images else f" on {PROTOCOLS[protocol]}")


def _hours(hours: float) -> str:
    return f"{60 * hours:.0f} minutes" if hours < 2 else f"{hours:.1f} hours" if hours < 20 else f"{hours:.0f} hours"


def _bullets(sentences: Sequence[str], opening: str = "") -> list[str]:
    return [*(f"- {opening}{sentence}" for sentence in sentences), *([""] if sentences else [])]
