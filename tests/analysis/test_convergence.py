import numpy as np
import pandas as pd
import pytest
from scipy import stats

from spatial_reduction.analysis.convergence import convergence_contrasts, measure_convergence

EVALUATION = {"comparators": ["base"], "margin": 0.5}
COLUMNS = ["arm", "threshold", "seed", "cumulative_steps", "cumulative_images", "cumulative_seconds"]


def history_of(design, every=10):
    """Learning curves given as {(arm, threshold, seed): validation mean IoU of each epoch}, 10 steps an epoch."""
    rows = [
        (*chain, every * epoch, 4 * every * epoch, 0.5 * every * epoch, score)
        for chain, scores in design.items()
        for epoch, score in enumerate(scores, start=1)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "validation_mean_iou"])


@pytest.fixture
def measured(tmp_path):
    def run(design):
        history_of(design).to_csv(tmp_path / "history.csv", index=False)
        measure_convergence(tmp_path / "history.csv", "base", tmp_path / "convergence.csv")
        return pd.read_csv(tmp_path / "convergence.csv", dtype={"threshold": str}).set_index(["arm", "seed", "level"])

    return run


def test_the_first_epoch_at_the_level_counts_and_not_reached_is_a_value(measured):
    table = measured({("base", "100", 1): [0.4, 0.76, 0.7, 0.8], ("arm", "90", 1): [0.5, 0.73, 0.75]})
    assert table.loc[("base", 1, 95), ["target", "reached", "steps"]].tolist() == [pytest.approx(0.76), True, 20]
    assert table.loc[("arm", 1, 90), ["reached", "steps", "images", "seconds"]].tolist() == [True, 20, 80, 10.0]
    assert not table.loc[("arm", 1, 95), "reached"]
    assert table.loc[("arm", 1, 95), ["steps", "images", "seconds"]].isna().all()
    assert table.loc[("arm", 1, 95), "area"] == pytest.approx(((0.5 + 0.73) / 2 + (0.73 + 0.75) / 2) / 2)


def test_the_target_is_that_of_the_same_seed(measured):
    table = measured(
        {("base", "100", 1): [0.5], ("base", "100", 2): [0.9], ("arm", "90", 1): [0.5]} | {("arm", "90", 2): [0.5]}
    )
    assert [bool(table.loc[("arm", seed, 99), "reached"]) for seed in (1, 2)] == [True, False]


def row_of(rows, measure):
    return next(row for row in rows if row["measure"] == measure)


def test_areas_are_compared_over_the_steps_that_both_took():
    scores = [0.1, 0.2, 0.3]
    design = {("base", "100", seed): [0.2, 0.3, 0.4, 0.9, 0.9] for seed in (1, 2, 3)}
    design |= {("arm", "90", seed): [value + 0.01 * seed for value in scores] for seed in (1, 2, 3)}
    row = row_of(convergence_contrasts(history_of(design), EVALUATION), "validation_area")
    differences = -10 + np.array([1.0, 2.0, 3.0])
    assert row["difference"] == pytest.approx(-8)
    low, high = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    assert row["p_value"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_not_reached_is_slower_than_any_number_of_steps():
    design, seeds = {}, range(6)
    for seed in seeds:
        design["base", "100", seed] = [0.5, 0.9, 0.9 + 0.001 * seed]
        design["arm", "90", seed] = [0.5, 0.6, 0.7]
    row = row_of(convergence_contrasts(history_of(design), EVALUATION), "steps_to_95")
    assert row["difference"] == np.inf
    assert (row["n"], row["p_value"], row["probability_better"]) == (6, 2 / 2**6, 0)


def test_neither_reached_is_a_tie_and_fewer_steps_are_better():
    design = {("base", "100", 1): [0.9, 0.9], ("arm", "90", 1): [0.1, 0.2], ("other", "90", 1): [0.1, 0.3]}
    rows = convergence_contrasts(history_of(design), {"comparators": ["base", "other"], "margin": 0.5})
    tie = next(
        row for row in rows if (row["arm"], row["comparator"], row["measure"]) == ("arm", "other", "steps_to_95")
    )
    assert (tie["difference"], tie["probability_better"]) == (0, 0.5)
    faster = next(
        row for row in rows if (row["arm"], row["comparator"], row["measure"]) == ("base", "other", "steps_to_95")
    )
    assert (faster["difference"], faster["probability_better"]) == (-np.inf, 1)
