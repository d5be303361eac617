import re

import pandas as pd
import pytest

from spatial_reduction.report import cost_table, final_scores, score_table
from spatial_reduction.verdict import describe_contrast, reach_verdict
from spatial_reduction.wording import format_p


@pytest.fixture
def settings(config):
    return {**config, "seeds": [1, 2, 3, 4, 5, 6]}


def contrast_row(threshold, difference, decision, n=6, comparator="equal_compute"):
    return {
        "arm": "saliency",
        "threshold": threshold,
        "comparator": comparator,
        "measure": "mean_iou",
        "class": "all",
        "n": n,
        "difference": difference,
        "ci_low": difference - 1,
        "ci_high": difference + 1,
        "p_value": 0.02,
        "p_holm": 0.04,
        "decision": decision,
    }


def final_rows(mean_iou, ious):
    rows = [
        (arm, "90", 1, measure, group, value)
        for arm in ("saliency", "equal_compute")
        for measure, group, value in [("mean_iou", "all", mean_iou), *(("iou", f"c{i}", v) for i, v in enumerate(ious))]
    ]
    return pd.DataFrame(rows, columns=["arm", "threshold", "seed", "measure", "class", "value"])


def verdict_of(rows, settings, mean_iou=0.5, ious=(0.6, 0.5, 0.4), steps=100):
    arms = ["saliency", "equal_compute"]
    counts = pd.DataFrame({"arm": arms, "threshold": "90", "seed": 1, "steps": [steps, 100]})
    return reach_verdict(pd.DataFrame(rows), final_rows(mean_iou, ious), counts, settings)


@pytest.mark.parametrize(
    ("decision", "answer"),
    [("supported", "Yes: "), ("refuted", "No: "), ("equivalent", "No: "), ("undecided", "Undecided: ")],
)
def test_the_headline_answers_the_question(decision, answer, settings):
    verdict = verdict_of([contrast_row("90", 1.0, decision), contrast_row("70", 1.0, decision)], settings)
    assert verdict.decision == decision
    assert verdict.headline.startswith(answer)
    assert verdict.warnings == []


def test_thresholds_that_disagree_are_told_apart(settings):
    verdict = verdict_of([contrast_row("90", 2.0, "supported"), contrast_row("50", -2.0, "refuted")], settings)
    assert verdict.decision == "mixed"
    assert verdict.headline.endswith("Supported at top 90 %, refuted at top 50 %.")


def test_a_finding_carries_effect_interval_n_and_p():
    sentence = describe_contrast(contrast_row("90", -1.25, "refuted"))
    assert sentence == (
        "saliency (top 90 %) scores 1.25 points lower than equal_compute in mean IoU (95 % CI -2.25 to -0.25, "
        "n = 6 seeds, p = .020, after Holm .040): refuted, the arm is worse."
    )


def test_few_seeds_are_warned_of(settings):
    verdict = verdict_of([contrast_row("90", 1.0, "undecided", n=3)], {**settings, "seeds": [1, 2, 3]})
    assert [warning for warning in verdict.warnings if "n = 3" in warning and "p = 0.25" in warning]


def test_unequal_compute_is_warned_of(settings):
    verdict = verdict_of([contrast_row("90", 1.0, "supported")], settings, steps=300)
    assert [warning for warning in verdict.warnings if "300 optimiser steps, equal_compute 100" in warning]


def test_a_baseline_below_its_gate_is_warned_of(settings):
    gated = {**settings, "report": {**settings["report"], "gate": 0.68}}
    rows = [contrast_row("90", 1.0, "supported")]
    assert any("below the gate of 68.0 %" in warning for warning in verdict_of(rows, gated).warnings)
    assert verdict_of(rows, gated, mean_iou=0.7).warnings == []


def test_a_run_that_predicts_one_class_everywhere_is_warned_of(settings):
    rows = [contrast_row("90", 1.0, "undecided")]
    verdict = verdict_of(rows, settings, mean_iou=0.24, ious=(0.72, 0.0, 0.0))
    assert "Collapsed: saliency, top 90 %, seed 1 predicts one class everywhere." in verdict.warnings
    assert verdict_of(rows, settings, mean_iou=0.24, ious=(0.4, 0.3, 0.02)).warnings == []


def test_one_seed_is_warned_of(settings):
    verdict = verdict_of([contrast_row("90", 1.0, "undecided", n=1)], {**settings, "seeds": [1]})
    assert [warning for warning in verdict.warnings if warning.startswith("One seed")]


def test_without_a_contrast_the_page_says_so(settings):
    nothing = pd.DataFrame(columns=list(contrast_row("90", 1.0, "undecided")))
    assert verdict_of(nothing, settings).headline.startswith("Nothing is compared")


def test_scores_are_of_the_last_iteration_on_the_test_split():
    last, others = [(1, 2, "test", 0.4), (2, 2, "test", 0.6)], [(2, 1, "test", 0.9), (1, 2, "validation", 0.8)]
    rows = [("a", "90", seed, i, split, "T1", "mean_iou", "all", value) for seed, i, split, value in last + others]
    columns = ["arm", "threshold", "seed", "iteration", "split", "protocol", "measure", "class", "value"]
    final = final_scores(pd.DataFrame(rows, columns=columns))
    row = score_table(final, ["mean_iou"])[0]
    mean, deviation = row["cells"]["mean_iou", "all"]
    assert (row["n"], mean) == (2, pytest.approx(50))
    assert deviation == pytest.approx(14.142, abs=1e-3)


def test_cost_is_of_whole_chains():
    curves = pd.DataFrame(
        {
            "arm": "a",
            "threshold": "90",
            "seed": [1, 1, 2, 2],
            "cumulative_steps": [10, 20, 10, 20],
            "cumulative_images": [80, 160, 80, 160],
            "cumulative_seconds": [1.0, 2.0, 3.0, 6.0],
        }
    )
    row = cost_table(curves)[0]
    assert (row["chains"], row["steps"], row["seconds"], row["fastest"], row["slowest"]) == (2, 20, 4.0, 2.0, 6.0)
    assert row["rate"] == pytest.approx(320 / 8)


def test_p_values_read_as_in_print():
    assert [format_p(value) for value in (0.0004, 0.05, 1.0, float("nan"))] == [
        "< .001",
        ".050",
        "1.000",
        "not defined",
    ]
    assert not re.search(r"^0\.", format_p(0.3))
