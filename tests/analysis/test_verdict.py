"""What is said of tables that decide: every word, every number, every caveat."""

import numpy as np
import pandas as pd
import pytest

from spatial_reduction.analysis.caveats import Evidence, warn_of_unequal_compute
from spatial_reduction.analysis.ladder import build_ladder
from spatial_reduction.analysis.verdict import describe_difference, reach_verdict, write_verdict

PLACES = {"H1": ("mean_iou", "intact", "all"), "H1b": ("corruption_drop", "corrupted", "all")}
PLACES |= {"H2": ("validation_area", "validation", "all")}
PLACES |= {"H3": ("background_swapped_drop", "background_swapped", "foreground")}
INTERACTION = ["family", "measure", "protocol", "class", "threshold", "other_threshold", "p_holm"]
HISTORY = ["arm", "threshold", "seed", "iteration", "cumulative_steps", "cumulative_seconds", "validation_mean_iou"]


@pytest.fixture
def settings(config):
    evaluation = {**config["evaluation"], "controls": ["shuffled"]}
    return {**config, "seeds": [1, 2, 3, 4, 5, 6], "evaluation": evaluation}


def row(threshold, difference, decision, about="H1", arm="saliency", comparator="restarts", **changes):
    measure, protocol, group = PLACES[about]
    family = {"restarts": "primary" if about == "H1" else "secondary", "shuffled": "control"}.get(comparator)
    return {
        "family": family if arm == "saliency" and decision else "exploratory",
        "arm": arm,
        "threshold": threshold,
        "comparator": comparator,
        "protocol": protocol,
        "measure": measure,
        "class": group,
        "n": 6,
        "difference": difference,
        "ci_low": difference - 1,
        "ci_high": difference + 1,
        "p_value": 0.02,
        "p_holm": 0.04,
        "p_equivalence_holm": 0.9,
        "margin": 0.5,
        "less_to_lose": False,
        "decision": decision,
        "seeds_needed": 14 if decision == "undecided" else np.nan,
    } | changes


def evidence_of(rows, interaction=None, scores=None, ious=(0.6, 0.5, 0.4), steps=None, end=0.5, best=0.2, seeds=6):
    scores = {"saliency": 0.5, "restarts": 0.5} | (scores or {})
    final = [
        (arm, "90", seed, "intact", measure, group, value)
        for seed in range(1, seeds + 1)
        for arm, measure, group, value in (
            *((arm, "mean_iou", "all", value) for arm, value in scores.items()),
            *(("saliency", "iou", f"c{i}", value) for i, value in enumerate(ious)),
        )
    ]
    final += [  # of which nothing is said
        (arm, "90", seed, protocol, measure, group, value)
        for arm in scores
        for seed in range(1, seeds + 1)
        for protocol, measure, group, value in (
            ("intact", "mean_iou", "pets", 0.9),
            ("intact", "pixel_accuracy", "all", 0.9),
            ("self_masked", "mean_iou", "all", 0.8),
            ("corrupted", "mean_iou", "all", 0.1),
            ("corrupted", "iou", "c1", 0.3),
        )
    ]
    curves = [
        (arm, "90", seed, 1, (steps or {}).get(arm, 100) * epoch / 10, 360.0 * epoch, 0.5 if epoch < 10 else last)
        for arm, last in (("saliency", 0.9), ("restarts", end))
        for seed in (1, 2)
        for epoch in range(1, 11)
    ]
    references = [("position_prior", "mean_iou", "all", best)]
    references += [(f"constant_{name}", "iou", name, share) for name, share in (("background", 0.7), ("pet", 0.3))]
    crossed = [("primary", *PLACES["H1"], "90", at, p) for at, p in (("70", 0.9), ("50", interaction))]
    crossed = crossed if interaction is not None else []
    return Evidence(
        contrasts=pd.DataFrame(rows, columns=list(row("90", 1.0, "undecided"))),
        interactions=pd.DataFrame(crossed, columns=INTERACTION),
        references=pd.DataFrame(references, columns=["predictor", "measure", "class", "value"]).assign(split="test"),
        final=pd.DataFrame(final, columns=["arm", "threshold", "seed", "protocol", "measure", "class", "value"]),
        history=pd.DataFrame(curves, columns=HISTORY),
        class_share={"background": 60.0, "pet": 30.0, "border": 10.0},
    )


def verdict_of(rows, settings, **about):
    return reach_verdict(evidence_of(rows, **about), settings)


@pytest.mark.parametrize("hypothesis", PLACES)
@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        ("supported", "Yes: saliency does better than restarts in "),
        ("refuted", "No: saliency does worse than restarts in "),
        ("equivalent", "No: saliency and restarts do not differ by a margin that matters in "),
        ("undecided", "Undecided: these runs do not show whether saliency does better than restarts in "),
        ("not_learnt", "No answer: saliency or restarts has not learnt, "),
        ("not_comparable", "No answer: saliency and restarts are identical in all that is compared of "),
        ("undefined", "No answer: there is no difference, or no variance, to test in "),
    ],
)
def test_every_hypothesis_has_its_answer(hypothesis, decision, answer, settings):
    verdict = verdict_of([row(at, 1.0, decision, hypothesis) for at in ("90", "70")], settings)
    decisions = {each.hypothesis: each.decision for each in verdict.answers}
    assert decisions == dict.fromkeys(PLACES, "not_measured") | {hypothesis: decision}
    found = next(each for each in verdict.answers if each.hypothesis == hypothesis)
    assert found.headline.startswith(answer)
    assert found.headline.endswith(", at every threshold.") == (decision in ("supported", "refuted", "equivalent"))
    assert len(found.findings) == 2
    assert verdict.warnings == found.warnings == []


def test_a_measure_whose_name_tells_its_images_is_said_to_be_on_no_others(settings):
    rows = [row("90", 1.0, "supported"), row("90", 1.0, "supported", "H1b")]
    ends = {each.hypothesis: each.headline.split(" in ", 1)[1] for each in verdict_of(rows, settings).answers[:2]}
    assert ends == {"H1": "mean IoU on intact test images.", "H1b": "loss of mean IoU when images are corrupted."}


def test_that_thresholds_differ_is_only_said_where_a_test_says_so(settings):
    rows = [row("90", 2.0, "supported"), row("50", 0.1, "undecided")]
    answer = verdict_of(rows, settings, interaction=0.3).answers[0]
    assert (answer.decision, answer.label) == ("partly", "supported at top 90 %, undecided at top 50 %")
    found = (
        "mean IoU on intact test images, at top 90 % saliency does better than restarts; at top 50 % it is undecided."
    )
    assert answer.headline == f"In part. In {found} Whether the thresholds differ from each other is undecided."
    answer = verdict_of(rows, settings, interaction=0.01).answers[0]
    assert answer.headline == f"It depends on how much is kept (p = .010). In {found}"
    assert answer.label == "supported at top 90 %, undecided at top 50 %"
    answer = verdict_of(rows, settings, interaction=0.0001).answers[0]
    assert answer.headline == f"It depends on how much is kept (p < .001). In {found}"
    assert verdict_of(rows, settings).answers[0].headline == f"In part. In {found}"  # without a test of it


def test_each_threshold_has_its_part_of_the_sentence(settings):
    decisions = {"90": "supported", "70": "refuted", "50": "equivalent", "30": "not_learnt"}
    answer = verdict_of([row(at, 1.0, decision) for at, decision in decisions.items()], settings).answers[0]
    assert answer.label.endswith("refuted at top 70 %, equivalent at top 50 %, not learnt at top 30 %")
    assert answer.headline.endswith(
        "; at top 70 % saliency does worse than restarts; at top 50 % saliency and restarts do not differ by a margin "
        "that matters; at top 30 % there is no answer (not learnt)."
    )


def test_what_is_exploratory_decides_nothing_and_stands_in_a_table(settings):
    rows = [row("90", 1.0, "equivalent"), row("90", 4.0, "", comparator="single_pass")]
    rows.append(row("100", 3.0, "", arm="restarts", comparator="single_pass"))
    rows.append(row("90", 9.0, "", arm="oracle"))
    verdict = verdict_of(rows, settings)
    assert verdict.answers[0].decision == "equivalent"
    assert [each["comparator"] for each in verdict.exploratory] == ["single_pass"]  # of the method alone
    page = write_verdict(verdict, settings)
    head = "| arm | top % | minus | measure | difference (95 % interval) | p |\n|---|---|---|---|---|---|"
    assert f"not adjusted for their number. All of them are in `contrasts.csv`.\n\n{head}\n| saliency |" in page
    line = "| saliency | 90 | single_pass | mean IoU on intact test images, points | +4.00 (+3.00 to +5.00) | .020 |"
    assert line in page.split("## Everything else that was compared")[1]
    assert not {"supported", "refuted", "undecided"} & set(page.split("## Everything else")[1].split())


def test_what_stands_beside_the_answers_is_of_the_class_group_where_it_has_one(settings):
    about = {**settings, "report": {**settings["report"], "class_group": "pets"}}
    shown = [
        ("intact", "mean_dice", "pets", "restarts"),
        ("label_masked", "mean_dice", "pets", "restarts"),
        ("intact", "pixel_accuracy", "all", "restarts"),
        ("corrupted", "mean_iou", "all", "restarts"),
        ("validation", "validation_area_pixels", "all", "restarts"),
        ("corrupted", "corruption_drop", "all", "single_pass"),
        ("intact", "mean_iou", "pets", "single_pass"),
    ]
    left_out = [
        ("intact", "mean_dice", "all", "restarts"),
        ("self_masked", "mean_iou", "all", "restarts"),
        ("intact", "mean_dice", "pets", "single_pass"),
        ("intact", "mean_iou", "all", "single_pass"),
    ]
    rows = [
        row("90", 1.0, "", comparator=comparator) | {"protocol": protocol, "measure": measure, "class": group}
        for protocol, measure, group, comparator in [*left_out, *shown]
    ]
    verdict = verdict_of(rows, about)
    places = [
        tuple(each[name] for name in ("protocol", "measure", "class", "comparator")) for each in verdict.exploratory
    ]
    assert places == shown
    page = write_verdict(verdict, about)
    assert "| restarts | mean Dice on intact test images, points (pets) | +1.00 (+0.00 to +2.00) | .020 |" in page
    assert "| restarts | pixel accuracy on intact test images, points | +1.00" in page


def test_why_an_exploratory_contrast_says_nothing_is_told(settings):
    rows = [row("90", 1.0, "not_learnt", comparator="single_pass", family="exploratory")]
    assert "| +1.00 (+0.00 to +2.00), not learnt | .020 |" in write_verdict(verdict_of(rows, settings), settings)


def test_a_control_is_a_question_of_its_own(settings):
    settings["evaluation"]["controls"] = ["shuffled", "random"]
    others = [row("90", 1.0, "", "H1b", comparator="shuffled")]
    verdict = verdict_of([row("90", 1.0, "undecided", comparator="shuffled"), *others], settings)
    assert [each.hypothesis for each in verdict.controls] == ["shuffled"]  # nothing was measured of the other
    assert [each["measure"] for each in verdict.controls[0].findings] == ["mean_iou"]
    assert verdict.controls[0].outlook.startswith("About 14 seeds")
    same = verdict_of([row("90", 0.1, "equivalent", comparator="shuffled")], settings)
    assert same.controls[0].headline.startswith("No: saliency and shuffled do not differ by a margin that matters in ")
    question = "Does the content of the mask matter: is saliency better than shuffled?"
    page = write_verdict(same, settings)
    assert f"| | {question} | **equivalent** |" in page
    assert "\n- *equivalent*: any difference is too small to matter.\n" in page
    assert verdict.answers[0].decision == "not_measured"
    assert verdict.controls[0].headline.startswith(
        "Undecided: these runs do not show whether saliency does better than sh"
    )


@pytest.mark.parametrize("about", ["H1", "H1b"])  # the second alone has no ladder
def test_no_two_lines_of_the_page_in_a_row_are_empty(settings, about):
    verdict = verdict_of([row("90", 1.0, "supported", about)], settings)
    assert bool(verdict.ladder) == (about == "H1")
    assert "\n\n\n" not in write_verdict(verdict, settings)


def test_the_ladder_leads_from_the_baseline_to_the_method(settings):
    rows = [row("90", -2.0, "refuted"), row("70", -3.0, "undecided")]
    rows += [row(at, 6.0, "", comparator="single_pass") for at in ("90", "70")]
    rows.append(row("100", 8.0, "", arm="restarts", comparator="single_pass"))
    rows += [row(at, 0.5, "undecided", comparator="shuffled") for at in ("90", "70")]
    ladder = build_ladder(evidence_of(rows).contrasts, settings["evaluation"], settings["report"])
    assert [(step.name, *step.sides) for step in ladder if step.threshold == "70"] == [
        ("more training", "restarts", "single_pass"),
        ("masking", "saliency", "restarts"),
        ("both", "saliency", "single_pass"),
        ("content of the mask", "saliency", "shuffled"),
    ]
    assert [step.contrast["difference"] for step in ladder if step.threshold == "90"] == [8, -2, 6, 0.5]
    page = write_verdict(verdict_of(rows, settings), settings)
    assert "More training alone (restarts minus single_pass) changes it by +8.00 (+7.00 to +9.00) points." in page
    found = "-2.00 (-3.00 to -1.00) points at top 90 %, -3.00 (-4.00 to -2.00) points at top 70 %."
    assert f" Masking (saliency minus restarts) changes it by {found}" in page
    assert "| 90 | +8.00 (+7.00 to +9.00) | -2.00 (-3.00 to -1.00), refuted | +6.00" in page
    head = (
        "| top % | more training: restarts minus single_pass | masking: saliency minus restarts | both: saliency minus "
    )
    head += "single_pass | content of the mask: saliency minus shuffled |"
    assert f"\n\n{head}\n|---|---|---|---|---|\n| 90 | " in page
    assert "In points, with 95 % intervals over seeds and test images." in page
    rows = [each for each in rows if (each["threshold"], each["comparator"]) != ("70", "shuffled")]
    page = write_verdict(verdict_of(rows, settings), settings)
    assert "| 70 | +8.00 (+7.00 to +9.00) | -3.00 (-4.00 to -2.00), undecided | +6.00 (+5.00 to +7.00) |  |" in page


def test_a_method_that_masks_nothing_changes_the_score_by_itself(settings):
    page = write_verdict(verdict_of([row("100", 2.0, "supported")], settings), settings)
    assert "The method (saliency minus restarts) changes it by +2.00 (+1.00 to +3.00) points." in page


def test_what_is_undecided_ends_with_the_seeds_and_hours_that_would_settle_it(settings):
    answer = verdict_of([row("90", 1.0, "undecided")], settings).answers[0]
    # 6 seeds so far; the training of a seed, one that both arms share, takes an hour.
    assert answer.outlook == (
        "About 14 seeds would detect a difference of 0.5 points with 80 % power at the variance seen here: 8 more, "
        "8.0 hours of training as measured here."
    )
    never = verdict_of([row("90", 1.0, "undecided", seeds_needed=np.inf)], settings).answers[0]
    assert never.outlook.startswith(
        "No number of seeds can detect a difference of 0.5 points at top 90 %: the test images alone"
    )
    held = row("90", -3.0, "undecided", "H1b", seeds_needed=np.inf)
    assert "an arm that scores lower has less to lose" in verdict_of([held], settings).answers[1].outlook
    assert verdict_of([row("90", 1.0, "supported")], settings).answers[0].outlook == ""


def test_each_threshold_is_told_what_would_settle_it(settings):
    needed = {"90": (np.inf, 0.04), "80": (np.inf, 0.01), "70": (np.inf, 0.3), "60": (np.inf, 0.9)}
    needed |= {"50": (20, 0.04), "40": (14, 0.3)}
    rows = [row(at, -3.0, "undecided", "H1b", seeds_needed=n, p_holm=p) for at, (n, p) in needed.items()]
    outlook = verdict_of(rows, settings).answers[1].outlook
    assert outlook.startswith("At top 90 % and 80 % the loss differs, but the score on the changed images does not")
    assert "No number of seeds can detect a difference of 0.5 points at top 70 % and 60 %: the test" in outlook
    assert "About 20 seeds would detect" in outlook
    assert ": 14 more, 14.0 hours" in outlook
    near = verdict_of([row("90", 1.0, "undecided", seeds_needed=5)], settings).answers[0].outlook
    assert near.startswith("About 7 seeds would detect a difference of 0.5 points")


@pytest.mark.parametrize(
    ("more", "said"), [(1, "60 minutes"), (2, "2.0 hours"), (19, "19.0 hours"), (20, "20 hours"), (100, "100 hours")]
)
def test_hours_are_printed_as_exactly_as_matters(settings, more, said):
    answer = verdict_of([row("90", 1.0, "undecided", seeds_needed=6 + more)], settings).answers[0]
    assert answer.outlook.endswith(f" {more} more, {said} of training as measured here.")


def test_a_training_that_arms_share_takes_its_time_once():
    evidence = evidence_of([])
    assert evidence.hours_per_seed == pytest.approx(1)  # both arms have the same seconds: one training
    apart = evidence.history.copy()
    apart.loc[apart["arm"] == "saliency", "cumulative_seconds"] *= 2
    assert Evidence(**{**vars(evidence), "history": apart}).hours_per_seed == pytest.approx(3)


def test_a_training_takes_the_time_since_the_one_before():
    ends = {("saliency", 1): 3600.0, ("saliency", 2): 10_800.0, ("restarts", 1): 3600.0, ("restarts", 2): 7200.0}
    curves = [
        (arm, "90", seed, iteration, 50 * iteration, second, 0.5)
        for seed in (1, 2)
        for (arm, iteration), end in ends.items()
        for second in (end - 60, end)
    ]
    evidence = vars(evidence_of([])) | {"history": pd.DataFrame(curves, columns=HISTORY)}
    assert Evidence(**evidence).hours_per_seed == pytest.approx(1 + 2 + 1)  # of the first one, shared, once


def test_few_seeds_are_warned_of(settings):
    few = verdict_of([row("90", 1.0, "undecided", n=4)], settings, seeds=4)
    assert [warning for warning in few.warnings if "n = 4" in warning and "p = 0.125" in warning]
    page = write_verdict(few, settings)
    assert page.index("\n- **Read first.** Few seeds: with n = 4") < page.index("| H1 |")
    assert "- Every number is a mean over 4 seeds: " in page
    two = verdict_of([row("90", 1.0, "undecided", n=2)], settings, seeds=2)
    said = "2 seeds: an interval of two is too wide to say anything; a claim needs at least 3."
    assert said in two.warnings
    assert two.answers[0].outlook.startswith("About 14 seeds")
    assert two.answers[0].headline == "Undecided: 2 seeds cannot tell; a claim needs at least 3."
    one = verdict_of([row("90", 1.0, "undecided", n=1)], settings, seeds=1)
    assert "1 seed: no interval and no test can be given; a claim needs at least 3." in one.warnings
    assert one.answers[0].headline == "Undecided: 1 seed cannot tell; a claim needs at least 3."
    assert one.answers[0].outlook == ""
    three = verdict_of([row("90", 1.0, "undecided", n=3)], settings, seeds=3)
    assert three.answers[0].headline.startswith("Undecided: these runs do not show whether")


def test_seeds_that_were_added_after_a_look_are_told_with_the_level_that_holds(settings):
    evidence = evidence_of([row("90", 1.0, "undecided")], seeds=6)
    verdict = reach_verdict(Evidence(**{**vars(evidence), "earlier_looks": [3]}), settings)
    (found,) = (line for line in verdict.warnings if line.startswith("Seeds were added"))
    assert "compared with 3 seeds before, and now with 6." in found
    assert "about 8 % of experiments without an effect" in found
    assert "in at most 8 of 100 experiments" in write_verdict(verdict, settings)
    assert "in at most 5 of 100 experiments" in write_verdict(reach_verdict(evidence, settings), settings)


def test_planned_looks_are_told_with_the_level_of_the_primary_contrasts(settings):
    evidence = evidence_of([row("90", 1.0, "supported"), row("90", 1.0, "supported", "H2")])
    contrasts = evidence.contrasts.assign(level=[0.0294, 0.01])
    looks = {**settings, "seeds": {"looks": [3, 6, 9]}}
    (found,) = reach_verdict(Evidence(**{**vars(evidence), "contrasts": contrasts}), looks).warnings
    assert found.startswith(
        "Looks planned after 3, 6, 9 seeds; it ended after 6. Primary contrasts are tested at 0.0294 "
    )
    assert "their intervals cover 97.06 %" in found


def test_unequal_compute_is_warned_of_where_it_matters(settings):
    rows = [row("90", 1.0, "supported", about) for about in PLACES]
    verdict = verdict_of(rows, settings, steps={"saliency": 300})
    touched = [each.hypothesis for each in verdict.answers if "300 optimiser steps, restarts 100" in str(each.warnings)]
    assert touched == ["H1", "H1b"]  # areas are compared over equal steps
    alone = verdict_of(rows[:1], settings, steps={"saliency": 300})
    assert [len(each.warnings) for each in alone.answers] == [1, 0, 0, 0]  # none of what was not measured


def test_steps_that_differ_from_seed_to_seed_are_told_as_a_span():
    evidence = evidence_of([], steps={"saliency": 300})
    assert (
        "saliency took 300 optimiser steps, restarts 100;"
        in warn_of_unequal_compute(evidence, "saliency", "restarts")[0]
    )
    is_shorter = (evidence.history["arm"] == "saliency") & (evidence.history["seed"] == 1)
    evidence.history.loc[is_shorter, "cumulative_steps"] -= 20
    assert "took 280 to 300 optimiser steps" in warn_of_unequal_compute(evidence, "saliency", "restarts")[0]
    assert not warn_of_unequal_compute(evidence_of([]), "saliency", "restarts")


def test_a_baseline_below_its_gate_is_warned_of(settings):
    gated = {**settings, "report": {**settings["report"], "least_baseline_iou": 0.68}}
    rows = [row("90", 1.0, "supported")]
    said = "below the 68.0 % that report.least_baseline_iou asks for"
    assert any(said in warning for warning in verdict_of(rows, gated).warnings)
    for reached in (0.7, 0.68):
        assert verdict_of(rows, gated, scores={"restarts": reached}).warnings == []


def test_a_network_that_has_learnt_nothing_is_named_with_what_is_as_good(settings):
    warnings = verdict_of([row("90", 1.0, "not_learnt")], settings, best=0.498).warnings
    (found,) = [warning for warning in warnings if warning.startswith("Nothing learnt: ")]
    assert (
        "saliency at top 90 % (50.0 %), restarts at top 90 % (50.0 %) is no better than the 49.8 % of the position"
        in found
    )
    assert verdict_of([row("90", 1.0, "supported")], settings, best=0.494).warnings == []
    assert verdict_of([row("90", 1.0, "supported")], settings, best=0.495).warnings != []  # no better by the margin


def test_a_comparator_that_still_improves_is_warned_of(settings):
    (warning,) = verdict_of([row("90", 1.0, "supported")], settings, end=0.52).warnings
    assert warning.startswith("Still improving: restarts gains 2.0 points")
    assert verdict_of([row("90", 1.0, "supported")], settings, end=0.504).warnings == []


@pytest.mark.parametrize(
    ("scores", "gain"),
    [
        ([0.5] * 17 + [0.52, 0.54, 0.56], "6.0"),  # the last four of twenty: three steps of 2 points
        ([0.4, 0.5, 0.53], "3.0"),  # a fifth is less than an epoch: the last two
    ],
)
def test_a_rise_is_that_over_the_last_fifth_and_two_epochs_at_least(settings, scores, gain):
    curve = [
        (arm, "90", 1, 1, 10 * at, 360.0 * at, score)
        for arm in ("saliency", "restarts")
        for at, score in enumerate(scores, 1)
    ]
    curve = pd.DataFrame(curve[::-1], columns=HISTORY)
    evidence = vars(evidence_of([row("90", 1.0, "supported")])) | {"history": curve}
    assert f"restarts gains {gain} points" in " ".join(reach_verdict(Evidence(**evidence), settings).warnings)


def test_a_single_epoch_does_not_rise(settings):
    evidence = evidence_of([row("90", 1.0, "supported")])
    history = evidence.history[evidence.history["cumulative_steps"] == 10]
    assert reach_verdict(Evidence(**{**vars(evidence), "history": history}), settings).warnings == []


def test_what_is_wrong_with_the_data_is_named(settings):
    evidence = vars(evidence_of([row("90", 1.0, "supported")]))
    assert reach_verdict(Evidence(**evidence), settings).warnings == []
    found = Evidence(**{**evidence, "parted_twins": 2, "absent_classes": ["pet (test)"]})
    twins, absent = reach_verdict(found, settings).warnings
    assert twins.startswith("Duplicates: 2 groups of identical or nearly identical images lie in more than one split,")
    assert absent == "Absent classes: no image has pet (test); means over classes leave them out there."


def test_a_run_that_predicts_one_class_everywhere_is_warned_of(settings):
    rows = [row("90", 1.0, "undecided")]
    said = "Collapsed: saliency at top 90 % (seeds 1, 2) predict one class everywhere; "
    said += "a comparison with them is meaningless."
    assert said in verdict_of(rows, settings, ious=(0.72, 0.0, 0.0), seeds=2).warnings
    assert verdict_of(rows, settings, ious=(0.4, 0.3, 0.02)).warnings == []


@pytest.mark.parametrize(
    ("protocol", "score", "leaks"), [("intact", 0.9, False), ("self_masked", 0.21, True), ("self_masked", 0.204, False)]
)
def test_masks_that_tell_the_labels_are_warned_of(settings, protocol, score, leaks):
    # Always background: IoU .6 of background, 0 of two others, mean .2; the margin is half a point.
    evidence = evidence_of([row("90", 1.0, "supported")])
    others = [("mask_only", "90", 1, protocol, "mean_iou", "all", score)]
    others.append(("mask_only", "90", 1, "label_masked", "mean_iou", "all", 0.9))  # from the labels: no leak
    final = pd.concat([evidence.final, pd.DataFrame(others, columns=evidence.final.columns)])
    settings["arms"] = {"saliency": {}, "oracle": None, "mask_only": {"fill": "mask"}}
    verdict = reach_verdict(Evidence(**{**vars(evidence), "final": final}), settings)
    assert bool([each for each in verdict.answers[0].warnings if each.startswith("The masks leak")]) == leaks


def test_who_has_less_to_lose_is_marked_wherever_it_stands(settings):
    rows = [row("90", -3.0, "undecided", "H1b", less_to_lose=True, seeds_needed=np.inf)]
    rows.append(row("90", -3.0, "", "H1b", comparator="single_pass", less_to_lose=True))
    rows.append(row("70", -3.0, "", "H1b", arm="oracle", less_to_lose=True))
    verdict = verdict_of(rows, settings)
    assert (
        verdict.answers[1]
        .warnings[0]
        .startswith("Less to lose: at top 90 % saliency scores lower in mean IoU on intact")
    )
    assert [len(each.warnings) for each in verdict.answers] == [0, 1, 0, 0]
    page = write_verdict(verdict, settings)
    assert "| undecided, less to lose |" in page
    assert "-3.00 (-4.00 to -2.00), less to lose | .020 |" in page


def test_a_measure_of_objects_can_decide(settings):
    about = {**settings, "report": {**settings["report"], "measure": "rand_error"}}
    found = row("90", -0.5, "supported") | {"measure": "rand_error"}
    answer = verdict_of([found], about).answers[0]
    assert answer.headline == "Yes: saliency does better than restarts in adapted Rand error on intact test images."


def test_numbers_as_printed():
    assert describe_difference(row("90", -1.25, "refuted")) == "-1.25 (-2.25 to -0.25)"
    assert describe_difference(row("90", 1.0, "") | {"measure": "nll", "ci_low": np.nan}) == "+1.0000"
    assert describe_difference(row("90", np.nan, "undefined")) == "not defined"


def test_without_a_contrast_the_page_says_so(settings):
    itself = {**settings, "report": {**settings["report"], "method": "restarts"}}
    assert verdict_of([], itself).answers[0].headline.startswith("Nothing is compared")
    assert verdict_of([], settings).answers[3].headline.startswith("Not measured")


def test_a_negative_result_is_written_as_large_as_a_positive_one(settings):
    pages = {
        decision: write_verdict(verdict_of([row("90", 1.0, decision)], settings, steps={"saliency": 300}), settings)
        for decision in ("supported", "refuted")
    }
    negative = pages["supported"].replace("*supported*: it is better", "*refuted*: it is worse")
    negative = negative.replace("supported", "refuted").replace("Yes: saliency does better", "No: saliency does worse")
    assert pages["refuted"] == negative
    page = pages["refuted"]
    assert page.startswith(f"# {settings['report']['title']}\n\n**No: saliency does worse than restarts in mean IoU")
    assert "\n\n| | question | answer |\n|---|---|---|\n| H1 | Does it improve accuracy? | **refuted** |\n" in page
    head = "| top % | difference, points (95 % interval) | p, adjusted | p of equivalence, adjusted | |"
    assert f"\n\n{head}\n|---|---|---|---|---|\n| 90 | +1.00 (+0.00 to +2.00) | .040 | .900 | refuted |\n" in page
    assert "Mean IoU on intact test images: higher is better; differences within ±0.5 do not matter." in page
    assert page.endswith("\n- *refuted*: it is worse.\n")
    assert page.index("## H1.") < page.index("Unequal compute") < page.rindex("No: saliency")


def test_one_sentence_a_claim(settings):
    rows = [row(at, 1.0, "undecided", about) for about in PLACES for at in ("95", "90", "80", "70", "50")]
    page = write_verdict(verdict_of(rows, settings), settings)
    assert page.count("these runs do not show whether") == len(PLACES) + 1  # the first stands above, too
    assert page.count("when images are corrupted. About 14 seeds would detect") == 1
    assert "Loss of mean IoU when images are corrupted: lower is better;" in page
