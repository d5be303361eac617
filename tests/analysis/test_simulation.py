"""The instrument tested: false claims, coverage and power of the verdict, by simulation.

The full tables are printed by tests/benchmarks/simulate_statistics.py.
"""

import numpy as np
import pytest

from simulation import Design, _differences, binomial_interval, simulate

EXPERIMENTS = 400
SPREADS = [(1.0, 0.0), (1.0, 0.3), (0.5, 0.5), (0.3, 1.0)]


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize(("seed_spread", "image_spread"), SPREADS)
def test_without_an_effect_few_experiments_claim_one(seeds, seed_spread, image_spread):
    design = Design(seeds, seed_spread=seed_spread, image_spread=image_spread)
    outcome = simulate(design, EXPERIMENTS)
    # 5 thresholds, one comparator: at most 5 % may claim anything. 99.9 % one-sided error of the simulation.
    assert binomial_interval(outcome.claims.sum(), EXPERIMENTS, level=0.998)[0] <= 0.05


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize(("seed_spread", "image_spread"), SPREADS)
def test_intervals_cover_the_truth_as_often_as_they_say(seeds, seed_spread, image_spread):
    design = Design(seeds, thresholds=1, effect=0.7, seed_spread=seed_spread, image_spread=image_spread)
    covered = simulate(design, EXPERIMENTS, seed=1).covered
    assert binomial_interval(covered.sum(), covered.size, level=0.998)[1] >= 0.95


def test_more_seeds_and_larger_effects_are_seen_more_often():
    def share(seeds, effect):
        outcome = simulate(Design(seeds, effect=effect, image_spread=0.3), EXPERIMENTS, seed=2)
        return (outcome.decisions == "supported").mean()

    assert share(3, 2.0) < share(6, 2.0) < share(10, 2.0)
    assert share(6, 0.5) < share(6, 1.0) < share(6, 5.0)
    assert share(10, 5.0) > 0.99


def test_a_claim_of_equivalence_needs_precise_runs():
    precise = simulate(Design(10, seed_spread=0.2, image_spread=0.05), EXPERIMENTS)
    assert (precise.decisions == "equivalent").mean() > 0.95
    at_the_margin = simulate(Design(10, effect=0.5, thresholds=1, seed_spread=0.2, image_spread=0.05), EXPERIMENTS)
    assert binomial_interval((at_the_margin.decisions == "equivalent").sum(), EXPERIMENTS, level=0.998)[0] <= 0.05


def test_the_drawn_differences_have_the_spread_that_is_asked_for():
    rng = np.random.default_rng(0)
    drawn = _differences(rng, (4000, 3, 2), 2.0)
    assert drawn.std() == pytest.approx(2, rel=0.03)
    assert np.corrcoef(drawn[:, 0, 0], drawn[:, 1, 0])[0, 1] == pytest.approx(0.5, abs=0.05)
