import re

import numpy as np
import pandas as pd
import pytest
import yaml

from experiments import ROOT
from spatial_reduction.analysis.caveats import Evidence
from spatial_reduction.analysis.measures import MEASURES, describe_determinism, format_p
from spatial_reduction.analysis.tables import last_test_rows
from spatial_reduction.analysis.verdict import describe_contrast, reach_verdict, write_verdict
from spatial_reduction.metrics.objects import OBJECT_MEASURES
from spatial_reduction.report.page import convergence_table, cost_table, score_table

DECIDING = {"H1": ("mean_iou", "intact", "all"), "H1b": ("corruption_drop", "corrupted", "all")}
DECIDING |= {"H2": ("validation_area", "validation", "all")}
DECIDING |= {"H3": ("background_swapped_drop", "background_swapped", "foreground")}


@pytest.fixture
def settings(config):
    return {**config, "seeds": [1, 2, 3, 4, 5, 6]}


def contrast_row(threshold, difference, decision, n=6, about=DECIDING["H1"], comparator="equal_compute"):
    measure, protocol, group = about
    return {
        "arm": "saliency",
        "threshold": threshold,
        "comparator": comparator,
        "protocol": protocol,
        "measure": measure,
        "class": group,
        "n": n,
        "difference": difference,
        "ci_low": difference - 1,
        "ci_high": difference + 1,
        "p_value": 0.02,
        "p_holm": 0.04,
        "decision": decision,
    }


def final_rows(mean_iou, ious, others=()):
    rows = [
        (arm, "90", 1, "intact", measure, group, value)
        for arm in ("saliency", "equal_compute")
        for measure, group, value in [("mean_iou", "all", mean_iou), *(("iou", f"c{i}", v) for i, v in enumerate(ious))]
    ]
    return pd.DataFrame([*rows, *others], columns=["arm", "threshold", "seed", "protocol", "measure", "class", "value"])


def verdict_of(rows, settings, mean_iou=0.5, ious=(0.6, 0.5, 0.4), steps=100, others=()):
    arms = ["saliency", "equal_compute"]
    counts = pd.DataFrame({"arm": arms, "threshold": "90", "seed": 1, "steps": [steps, 100]})
    shares = {"background": 60.0, "pet": 30.0, "border": 10.0}
    contrasts = pd.DataFrame(rows, columns=list(contrast_row("90", 1.0, "undecided")))
    return reach_verdict(Evidence(contrasts, final_rows(mean_iou, ious, others), counts, shares), settings)


@pytest.mark.parametrize("hypothesis", DECIDING)
@pytest.mark.parametrize(
    ("decision", "answer"),
    [("supported", "Yes: "), ("refuted", "No: "), ("equivalent", "No: "), ("undecided", "Undecided: ")],
)
def test_every_hypothesis_has_its_answer(hypothesis, decision, answer, settings):
    rows = [contrast_row(threshold, 1.0, decision, about=DECIDING[hypothesis]) for threshold in ("90", "70")]
    verdict = verdict_of(rows, settings)
    decisions = {each.hypothesis: each.decision for each in verdict.answers}
    assert decisions == dict.fromkeys(DECIDING, "not measured") | {hypothesis: decision}
    found = next(each for each in verdict.answers if each.hypothesis == hypothesis)
    assert found.headline.startswith(answer)
    assert len(found.findings) == 2
    assert verdict.warnings == found.warnings == []


def test_thresholds_that_disagree_are_told_apart(settings):
    rows = [contrast_row("90", 2.0, "supported"), contrast_row("50", -2.0, "refuted")]
    answer = verdict_of(rows, settings).answers[0]
    assert answer.decision == "mixed"
    assert answer.headline.endswith("supported at top 90 %, refuted at top 50 %.")


def test_another_comparator_another_class_group_and_other_images_decide_nothing(settings):
    rows = [contrast_row("90", 1.0, "equivalent"), contrast_row("90", 1.0, "supported", comparator="single_pass")]
    rows.append(contrast_row("90", 1.0, "supported", about=("mean_iou", "intact", "pet_and_background")))
    rows.append(contrast_row("90", 1.0, "supported", about=("mean_iou", "self_masked", "all")))
    rows.append(
        contrast_row("90", 1.0, "supported", about=("mean_iou", "self_masked", "all"), comparator="single_pass")
    )
    answer = verdict_of(rows, settings).answers[0]
    assert answer.decision == "equivalent"
    assert (len(answer.findings), len(answer.secondary)) == (1, 2)  # the other comparator, the masked images


def test_a_measure_of_objects_can_decide_and_the_others_stand_beside_it(settings):
    about = {"evaluation": {**settings["evaluation"], "measures": ["mean_iou", "rand_error", "vi_merge"]}}
    about["report"] = {**settings["report"], "measure": "rand_error", "class_group": "pet_and_background"}
    names = ["rand_error", "vi_merge", "seg"]
    rows = [contrast_row("90", -0.5, "supported", about=(name, "intact", "all")) for name in names]
    rows.append(contrast_row("90", 1.0, "refuted", about=("mean_iou", "intact", "pet_and_background")))
    answer = verdict_of(rows, settings | about).answers[0]
    assert answer.decision == "supported"
    assert "adapted Rand error on intact test images is 0.500 points lower" in answer.findings[0]
    assert [sentence.split(" on ")[0].split(": ")[1] for sentence in answer.secondary] == [
        "mean IoU",
        "variation of information, mergers",
    ]
    assert "is 0.5000 bits lower" in answer.secondary[1]


def test_a_finding_carries_effect_interval_n_and_p():
    assert describe_contrast(contrast_row("90", -1.25, "refuted")) == (
        "saliency (top 90 %): mean IoU on intact test images is 1.25 points lower than that of equal_compute (95 % CI "
        "-2.25 to -0.25, n = 6 seeds, p = .020, after Holm .040): refuted, the arm is worse."
    )


def test_a_tiny_p_value_is_given_as_a_bound():
    assert "n = 6 seeds, p < .001, after Holm < .001)" in describe_contrast(
        contrast_row("90", 1.0, "supported") | {"p_value": 1e-5, "p_holm": 1e-4}
    )


def test_steps_that_are_never_taken_read_as_such():
    row = contrast_row("90", np.inf, "refuted", about=("steps_to_95", "validation", "all"))
    sentence = describe_contrast(row | {"ci_low": np.nan, "ci_high": np.nan})
    assert "final validation score is never reached, but by equal_compute (n = 6 seeds, p = .020" in sentence


def test_few_seeds_are_warned_of(settings):
    verdict = verdict_of([contrast_row("90", 1.0, "undecided", n=3)], {**settings, "seeds": [1, 2, 3]})
    assert [warning for warning in verdict.warnings if "n = 3" in warning and "p = 0.25" in warning]


def test_unequal_compute_is_warned_of_where_it_matters(settings):
    rows = [contrast_row("90", 1.0, "supported", about=about) for about in DECIDING.values()]
    verdict = verdict_of(rows, settings, steps=300)
    touched = [
        each.hypothesis for each in verdict.answers if "300 optimiser steps, equal_compute 100" in str(each.warnings)
    ]
    assert touched == ["H1", "H1b"]  # areas are compared over equal steps


def test_a_baseline_below_its_gate_is_warned_of(settings):
    gated = {**settings, "report": {**settings["report"], "least_baseline_iou": 0.68}}
    rows = [contrast_row("90", 1.0, "supported")]
    assert any(
        "below the 68.0 % that report.least_baseline_iou asks for" in warning
        for warning in verdict_of(rows, gated).warnings
    )
    assert verdict_of(rows, gated, mean_iou=0.7).warnings == []


def test_a_run_that_predicts_one_class_everywhere_is_warned_of(settings):
    rows = [contrast_row("90", 1.0, "undecided")]
    verdict = verdict_of(rows, settings, mean_iou=0.24, ious=(0.72, 0.0, 0.0))
    said = "Collapsed: saliency, top 90 %, predicts one class everywhere (seeds 1); a comparison with it says nothing."
    assert said in verdict.warnings
    assert verdict_of(rows, settings, mean_iou=0.24, ious=(0.4, 0.3, 0.02)).warnings == []


@pytest.mark.parametrize(
    ("protocol", "score", "leaks"), [("intact", 0.9, False), ("self_masked", 0.21, True), ("self_masked", 0.2, False)]
)
def test_masks_that_tell_the_labels_are_warned_of(settings, protocol, score, leaks):
    # Always background: IoU .6 of background, 0 of two others, mean .2; the margin is half a point.
    others = [("mask_only", "90", 1, protocol, "mean_iou", "all", score)]
    others.append(("mask_only", "90", 1, "label_masked", "mean_iou", "all", 0.9))  # from the labels: no leak
    settings["arms"] = {"saliency": {}, "oracle": None, "mask_only": {"fill": "mask"}}
    verdict = verdict_of([contrast_row("90", 1.0, "supported")], settings, others=others)
    assert bool([each for each in verdict.answers[0].warnings if each.startswith("The masks leak")]) == leaks


def test_a_smaller_loss_from_a_lower_start_is_warned_of(settings):
    rows = [contrast_row("90", -3.0, "supported", about=DECIDING[name]) for name in ("H1b", "H3")]
    verdict = verdict_of([*rows, contrast_row("90", -5.0, "refuted")], settings)
    warned = {each.hypothesis: [w for w in each.warnings if w.startswith("Less to lose")] for each in verdict.answers}
    assert [name for name, found in warned.items() if found] == ["H1b"]
    assert "worse in mean IoU on intact images" in warned["H1b"][0]


def test_one_seed_is_warned_of(settings):
    verdict = verdict_of([contrast_row("90", 1.0, "undecided", n=1)], {**settings, "seeds": [1]})
    assert [warning for warning in verdict.warnings if warning.startswith("One seed")]


def test_without_a_contrast_the_page_says_so(settings):
    itself = {**settings, "report": {**settings["report"], "method": "equal_compute"}}
    assert verdict_of([], itself).answers[0].headline.startswith("Nothing is compared")
    assert verdict_of([], settings).answers[3].headline.startswith("Not measured")


def test_a_negative_result_is_written_as_large_as_a_positive_one(settings):
    pages = {
        decision: write_verdict(verdict_of([contrast_row("90", 1.0, decision)], settings, steps=300), "Title")
        for decision in ("supported", "refuted")
    }
    negative = pages["supported"].replace("supported, the arm is better", "refuted, the arm is worse")
    negative = negative.replace("supported", "refuted").replace("Supported", "Refuted")
    assert pages["refuted"] == negative.replace("Yes: saliency does better", "No: saliency does worse")
    page = pages["refuted"]
    assert page.startswith("# Title\n")
    assert "| H1 | Does it improve accuracy? | **refuted** |" in page
    assert page.index("## H1.") < page.index("Unequal compute") < page.index("No: saliency")


def test_scores_are_of_the_last_iteration_on_the_test_split():
    last, others = [(1, 2, "test", 0.4), (2, 2, "test", 0.6)], [(2, 1, "test", 0.9), (1, 2, "validation", 0.8)]
    rows = [("a", "90", seed, i, split, "intact", "mean_iou", "all", value) for seed, i, split, value in last + others]
    columns = ["arm", "threshold", "seed", "iteration", "split", "protocol", "measure", "class", "value"]
    final = last_test_rows(pd.DataFrame(rows, columns=columns))
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


def test_convergence_is_told_with_the_chains_that_arrive():
    rows = [
        ("a", "90", seed, level, level < 95 or seed == 1, 10.0 * seed, 0.5) for seed in (1, 2, 3) for level in (90, 95)
    ]
    speed = pd.DataFrame(rows, columns=["arm", "threshold", "seed", "level", "reached", "steps", "area"])
    speed.loc[~speed["reached"], "steps"] = np.nan
    row = convergence_table(speed)[0]
    assert (row["n"], row["area"], row["levels"]) == (3, 50, {90: (3, 20), 95: (1, 10)})


def test_every_measure_that_can_be_configured_has_words():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    measures = schema["properties"]["evaluation"]["properties"]["measures"]["items"]["enum"]
    assert set(measures) | {"validation_area", "steps_to_95"} == set(MEASURES)
    named = schema["$defs"]["object_measure"]["enum"]
    assert named == list(OBJECT_MEASURES) == [name for name, measure in MEASURES.items() if measure.is_of_objects]
    assert set(schema["$defs"]["measure"]["enum"]) <= set(measures)


def test_p_values_read_as_in_print():
    assert [format_p(value) for value in (0.0004, 0.05, 1.0, float("nan"))] == [
        "< .001",
        ".050",
        "1.000",
        "not defined",
    ]
    assert not re.search(r"^0\.", format_p(0.3))


def test_determinism_is_told_with_the_devices():
    cpu, gpu = "cpu (x86_64, 2 threads)", "NVIDIA H100"
    assert describe_determinism(False, [cpu]).startswith("not needed on a CPU: the same bits again")
    assert describe_determinism(False, [cpu, gpu]).startswith("not asked for")
    assert describe_determinism(True, [gpu, gpu]).startswith("deterministic algorithms")
    assert describe_determinism(True, [gpu, cpu]).endswith("ran on NVIDIA H100")
    assert describe_determinism(True, [cpu]).endswith("ran on the CPU alone")
