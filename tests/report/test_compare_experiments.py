import numpy as np
import pandas as pd
import pytest
from scipy import stats

from spatial_reduction.report.compare_experiments import compare_experiments, probability_better
from spatial_reduction.runtime.errors import InputError

COLUMNS = ["arm", "threshold", "seed", "iteration", "split", "protocol", "measure", "class", "value"]


def write_experiment(folder, scores):
    """Write metrics.csv of {(arm, threshold): values of seeds 1, 2, ...}, each after two iterations."""
    folder.mkdir(parents=True)
    rows = [
        (*setting, seed, iteration, "test", "intact", "mean_iou", "all", value - 0.3 * (iteration == 1))
        for setting, values in scores.items()
        for seed, value in enumerate(values, start=1)
        for iteration in (1, 2)
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "metrics.csv", index=False)
    return folder


def compare(tmp_path, *folders):
    outputs = {"table": tmp_path / "comparison.csv", "figures": [tmp_path / "comparison.png"]}
    compare_experiments(folders, "single_pass", "mean_iou", "all", **outputs)
    table = pd.read_csv(tmp_path / "comparison.csv", dtype={"threshold": str})
    return table.set_index(["experiment", "arm", "threshold"])


def test_arms_that_all_experiments_have_are_compared_by_their_last_iteration(tmp_path):
    base, arm = [0.5, 0.6, 0.7], [0.55, 0.58, 0.9]
    first = {("single_pass", "100"): base, ("saliency", "90"): arm, ("random", "90"): arm}
    one = write_experiment(tmp_path / "one", first)
    two = write_experiment(tmp_path / "two", {("saliency", "90"): base, ("single_pass", "100"): base})
    table = compare(tmp_path, one, two)
    assert len(table) == 4  # random is not in both
    row = table.loc["one", "saliency", "90"]
    assert (row["n"], row["score"]) == (3, pytest.approx(100 * np.mean(arm)))
    differences = 100 * (np.array(arm) - np.array(base))
    expected = stats.t.interval(0.95, 2, loc=differences.mean(), scale=stats.sem(differences))
    assert row[["difference_low", "difference_high"]].tolist() == pytest.approx(list(expected))
    assert row["probability"] == pytest.approx(5 / 9)  # of nine pairs .55, .58 win one each, .9 wins all three
    assert table.loc["two", "saliency", "90"]["difference"] == 0


def test_the_probability_of_a_better_run_is_that_of_mann_and_whitney():
    rng = np.random.default_rng(0)
    scores, baseline = rng.normal(0.5, 1, 7), rng.normal(0, 1, 5)
    share = stats.mannwhitneyu(scores, baseline).statistic / 35
    found, low, high = probability_better(scores, baseline, higher_is_better=True)
    assert found == pytest.approx(share)
    assert low < found < high
    assert probability_better(scores, baseline, higher_is_better=False)[0] == pytest.approx(1 - share)
    assert probability_better(baseline, baseline, higher_is_better=True)[0] == 0.5


def test_one_seed_has_no_interval(tmp_path):
    scores = {("single_pass", "100"): [0.5], ("saliency", "90"): [0.6]}
    table = compare(tmp_path, *(write_experiment(tmp_path / name, scores) for name in ("one", "two")))
    row = table.loc["one", "saliency", "90"]
    assert row["difference"] == pytest.approx(10)
    assert np.isnan(row[["score_low", "difference_high", "probability_low"]].astype(float)).all()


def test_folders_of_one_name_are_told_apart_by_that_above(tmp_path):
    scores = {("single_pass", "100"): [0.5, 0.6], ("saliency", "90"): [0.6, 0.7]}
    table = compare(tmp_path, *(write_experiment(tmp_path / name / "results", scores) for name in ("one", "two")))
    assert set(table.index.get_level_values(0)) == {"one/results", "two/results"}


def test_what_cannot_be_compared_is_refused_by_name(tmp_path):
    one = write_experiment(tmp_path / "one", {("single_pass", "100"): [0.5], ("saliency", "90"): [0.6]})
    two = write_experiment(tmp_path / "two", {("single_pass", "100"): [0.5], ("saliency", "70"): [0.6]})
    with pytest.raises(
        InputError, match=r"comparison\.experiments: one, two share .*single_pass and one more are needed"
    ):
        compare(tmp_path, one, two)
    with pytest.raises(InputError, match=r"nowhere/metrics\.csv is not there"):
        compare(tmp_path, one, tmp_path / "nowhere")
