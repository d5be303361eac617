import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from spatial_reduction.analysis.decisions import agree, deciding_score, family_of, judge, plan_seeds

EVALUATION = {"comparators": ["restarts", "single_pass"], "controls": ["shuffled", "random"]}
REPORT = {"method": "saliency", "measure": "mean_iou", "class_group": "pets"}
H1 = ("intact", "mean_iou", "pets")


@pytest.mark.parametrize(
    ("arm", "comparator", "place", "family"),
    [
        ("saliency", "restarts", H1, "primary"),
        ("saliency", "restarts", ("intact", "mean_iou", "all"), "exploratory"),  # another class group
        ("saliency", "restarts", ("self_masked", "mean_iou", "pets"), "exploratory"),
        ("saliency", "single_pass", H1, "exploratory"),
        ("random", "restarts", H1, "exploratory"),
        ("saliency", "shuffled", H1, "control"),
        ("saliency", "random", ("corrupted", "corruption_drop", "all"), "exploratory"),
        ("saliency", "restarts", ("corrupted", "corruption_drop", "all"), "secondary"),
        ("saliency", "restarts", ("validation", "validation_area", "all"), "secondary"),
        ("saliency", "restarts", ("background_swapped", "background_swapped_drop", "foreground"), "secondary"),
        ("saliency", "restarts", ("validation", "validation_area_pixels", "all"), "exploratory"),
    ],
)
def test_a_contrast_is_of_one_family(arm, comparator, place, family):
    assert family_of(arm, comparator, place, EVALUATION, REPORT) == family


def test_a_hypothesis_is_decided_at_one_place():
    assert deciding_score("H1", REPORT) == ("intact", "mean_iou", "pets")
    assert deciding_score("H3", REPORT) == ("background_swapped", "background_swapped_drop", "foreground")


ROW = {"family": "primary", "comparator": "restarts", "measure": "mean_iou", "n": 5, "difference": 2.0}
ROW |= {"p_value": 0.001, "p_equivalence": 0.9, "seed_sd": 1.0, "image_sd": 0.1, "margin": 0.5, "is_learnt": True}
ROW |= {"level": 0.05, "is_same": False, "start_difference": np.nan, "level_difference": np.nan}


def judged(*changes):
    table = judge(pd.DataFrame([ROW | change for change in changes]))
    return table.assign(seeds_needed=plan_seeds(table))


def decision_of(**change):
    return judged(change)["decision"].iloc[0]


def test_every_decision_can_be_reached():
    assert decision_of() == "supported"
    assert decision_of(difference=-2.0) == "refuted"
    assert decision_of(p_value=0.2) == "undecided"
    assert decision_of(p_value=0.2, p_equivalence=0.01) == "equivalent"
    assert decision_of(family="exploratory") == ""
    assert decision_of(n=2) == "undecided"
    assert decision_of(is_learnt=False) == decision_of(is_learnt=False, family="exploratory") == "not_learnt"
    assert decision_of(is_same=True) == decision_of(is_same=True, family="exploratory") == "not_comparable"
    assert decision_of(difference=np.nan) == decision_of(difference=np.nan, family="exploratory") == "undefined"
    assert decision_of(seed_sd=0.0, image_sd=0.0) == "undefined"
    assert decision_of(difference=-2.0, seed_sd=0.0, image_sd=0.0) == "undefined"
    assert decision_of(seed_sd=3e-4, image_sd=0.0) == decision_of(seed_sd=0.0, image_sd=3e-4) == "supported"
    assert decision_of(difference=0.0, seed_sd=0.0, image_sd=0.0, p_value=1.0, p_equivalence=0.0) == "equivalent"


def test_where_less_is_better_a_negative_difference_supports():
    assert decision_of(measure="nll", difference=-2.0) == "supported"


def test_tests_of_difference_and_of_equivalence_are_adjusted_within_a_family():
    rng = np.random.default_rng(0)
    families = [("primary", "restarts"), ("secondary", "restarts"), ("control", "shuffled"), ("control", "random")]
    rows = [
        {"family": family, "comparator": comparator, "p_value": rng.random() / 10, "p_equivalence": rng.random() / 10}
        for family, comparator in families
        for _ in range(3)
    ]
    table = judged(*rows, {"family": "exploratory"})
    for place, found in table[table["family"] != "exploratory"].groupby(["family", "comparator"]):
        assert len(found) == 3, place
        assert found["p_holm"].to_numpy() == pytest.approx(multipletests(found["p_value"], method="holm")[1])
        expected = multipletests(found["p_equivalence"], method="holm")[1]
        assert found["p_equivalence_holm"].to_numpy() == pytest.approx(expected)
    assert table.iloc[-1][["p_holm", "p_equivalence_holm"]].isna().all()


@pytest.mark.parametrize(
    ("difference", "level", "start", "decision", "less"),
    [
        (-3.0, 1.0, 0.0, "supported", False),  # loses less, ends higher
        (-3.0, -1.0, -4.0, "undecided", True),  # loses less, ends lower: it had less to lose
        (-3.0, 0.5, -2.5, "supported", True),  # both, and the mark stays
        (-3.0, 0.0, -0.4, "supported", False),  # no lower, and within the margin where it starts
        (3.0, 0.0, 3.0, "refuted", False),
        (3.0, -1.0, 2.0, "refuted", False),
        (3.0, 1.0, 4.0, "undecided", False),  # loses more, and still ends higher: it had more to lose
    ],
)
def test_a_loss_is_decided_by_the_loss_and_by_the_score_that_is_left(difference, level, start, decision, less):
    change = {"measure": "corruption_drop", "level_difference": level, "start_difference": start}
    row = judged(change | {"difference": difference}).iloc[0]
    assert (row["decision"], row["less_to_lose"]) == (decision, less)
    if decision == "undecided":
        assert row["seeds_needed"] == np.inf


@pytest.mark.parametrize(("n", "p_value", "is_never"), [(3, 0.001, True), (2, 0.001, False), (3, 0.2, False)])
def test_more_seeds_settle_a_loss_but_for_one_that_is_held_back(n, p_value, is_never):
    about = {"measure": "corruption_drop", "difference": -3.0, "level_difference": -1.0, "n": n, "p_value": p_value}
    assert np.isinf(judged(about)["seeds_needed"].iloc[0]) == is_never


def test_the_seeds_that_are_needed_are_told_of_what_is_undecided():
    table = judged({"p_value": 0.2}, {"p_value": 0.001}, {"family": "exploratory"})
    assert table["seeds_needed"].notna().tolist() == [True, False, False]
    alone = judged({"p_value": 0.2})["seeds_needed"].iloc[0]
    assert alone < table["seeds_needed"].iloc[0]  # of two tests, each at half the level


@pytest.mark.parametrize(
    ("decisions", "interaction", "word"),
    [
        ({}, np.nan, "not_measured"),
        ({"90": "supported", "70": "supported"}, 0.001, "supported"),
        ({"90": "supported", "70": "undecided"}, 0.3, "partly"),
        ({"90": "supported", "70": "undecided"}, 0.01, "depends"),
        ({"90": "supported", "70": "refuted"}, 0.05, "partly"),
        ({"90": "supported", "70": "not_learnt"}, np.nan, "partly"),
        ({"90": "equivalent", "70": "undecided"}, 0.01, "partly"),  # no difference is claimed anywhere
        ({"90": "undecided", "70": "not_learnt"}, np.nan, "undecided"),
        ({"90": "not_comparable", "70": "undefined"}, np.nan, "not_comparable"),
    ],
)
def test_that_thresholds_differ_is_a_claim_with_a_test_of_its_own(decisions, interaction, word):
    assert agree(decisions, interaction) == word
