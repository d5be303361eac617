"""The instrument tested: false claims, coverage and power of the whole verdict, by simulation.

The full tables are printed by tests/benchmarks/simulate_statistics.py.
"""

import numpy as np
import pytest

from simulation import SHIPPED, Design, _draw, binomial_interval, simulate, simulate_primary

EXPERIMENTS = 400
CONDITIONS = {
    "seeds": {},
    "images": {"seed_sd": 0.3, "image_sd": 1.0},
    "interplay": {"seed_sd": 0.3, "interplay_sd": 2.0},
    "heavy tails": {"tails": 3},
    "a collapsed seed": {"collapse": 0.1},
}
SMALL = {"thresholds": 5, "controls": 1, "images": 60, "validation": 20}


def at_most(hits, share):
    """Whether no more than a share is likely: 99.9 % one-sided error of the simulation."""
    return binomial_interval(hits.sum(), hits.size, level=0.998)[0] <= share


@pytest.fixture(scope="module")
def nothing():
    """Experiments without any effect, by seeds and condition."""
    return {
        (seeds, name): simulate(Design(seeds, **SMALL, **condition), EXPERIMENTS)
        for seeds in (3, 10)
        for name, condition in CONDITIONS.items()
    }


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_where_nothing_is_few_whole_reports_claim_anything(nothing, seeds, condition):
    outcome = nothing[seeds, condition]
    for family in ("primary", "secondary", "control"):
        assert at_most(outcome.claiming(family), 0.05), family


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("condition", ["seeds", "images", "interplay"])
def test_intervals_cover_the_truth_as_often_as_they_say(nothing, seeds, condition):
    for hypothesis in ("H1", "H1b", "H2", "H3"):
        covered = nothing[seeds, condition].covered(hypothesis)
        assert binomial_interval(covered.sum(), covered.size, level=0.998)[1] >= 0.95, hypothesis


def test_an_effect_that_is_the_same_everywhere_is_not_said_to_depend_on_the_threshold():
    outcome = simulate(Design(5, effects={"H1": 2.0}, **SMALL), EXPERIMENTS)
    words = outcome.words[:, 0]
    assert (words == "partly").mean() > 0.1  # thresholds that differ by chance, told as such
    assert at_most(words == "depends", 0.05)


def test_more_seeds_and_larger_effects_are_seen_more_often():
    def share(seeds, effect):
        return simulate(Design(seeds, effects={"H1": effect}, **SMALL), EXPERIMENTS, seed=2).decided("H1", "supported")

    assert share(3, 2.0).mean() < share(6, 2.0).mean() < share(10, 2.0).mean()
    assert share(6, 0.5).mean() < share(6, 1.0).mean() < share(6, 5.0).mean()
    assert share(10, 5.0).mean() > 0.99


def test_the_primary_family_alone_says_what_the_whole_verdict_says():
    design = Design(5, effects={"H1": 2.0}, **SMALL)
    alone = (simulate_primary(design, EXPERIMENTS, seed=4)[:, 0] == "supported").mean()
    whole = simulate(design, EXPERIMENTS, seed=5).decided("H1", "supported").mean()
    assert alone == pytest.approx(whole, abs=0.1)


def test_a_claim_of_equivalence_needs_precise_runs():
    precise = {"seed_sd": 0.2, "image_sd": 0.05, **SMALL}
    assert simulate(Design(10, **precise), EXPERIMENTS).decided("H1", "equivalent").mean() > 0.9
    at_the_margin = simulate(Design(10, effects={"H1": 0.5}, **precise), EXPERIMENTS)
    primary = at_the_margin.table[at_the_margin.table["family"] == "primary"]
    claimed = (primary["decision"] == "equivalent").groupby(primary["experiment"]).any()
    assert at_most(claimed.to_numpy(), 0.05)


def test_the_drawn_differences_have_the_spreads_that_are_asked_for():
    design = Design(4, seed_sd=2.0, image_sd=0.5, interplay_sd=1.0)
    drawn = _draw(design, (2000, 3, 4, 25), np.random.default_rng(0)).mean(axis=-1)
    differences = drawn[:, 1:] - drawn[:, :1]
    assert differences.std() == pytest.approx(np.sqrt(4 + 0.25 + 1), rel=0.03)
    assert differences.mean(axis=2).std() == pytest.approx(np.sqrt(4 / 4 + 0.25 + 1 / 4), rel=0.05)
    assert np.corrcoef(differences[:, 0, 0], differences[:, 1, 0])[0, 1] == pytest.approx(0.5, abs=0.05)


def test_the_shipped_designs_are_those_of_the_configurations(config):
    method = config["reduction"]["thresholds"]
    assert (len(method), len(config["evaluation"]["controls"])) == (
        SHIPPED["demo"]["thresholds"],
        SHIPPED["demo"]["controls"],
    )
