import numpy as np
import pandas as pd
import pytest
from scipy import stats

from learning_curves import write_all_counts, write_validation_counts
from spatial_reduction.analysis.convergence import (
    area_weights,
    compare_convergence,
    integral_weights,
    measure_convergence,
    read_curves,
    shared_epochs,
)
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5

EVALUATION = {"comparators": ["base"], "controls": [], "margins": {"default": 0.5}, "resamples": 300}
REPORT = {"method": "arm", "measure": "mean_iou", "class_group": "all"}
COLUMNS = ["arm", "threshold", "seed", "iteration", "cumulative_steps", "cumulative_images", "cumulative_seconds"]
COLUMNS += ["validation_mean_iou"]
KEPT = ["arm", "threshold", "seed", "iteration", "measure", "class", "value"]
NOTHING_REMOVED = pd.DataFrame(columns=KEPT)


def history_of(design, epochs=2, every=10):
    """Learning curves given as {(arm, threshold, seed): validation mean IoU of each epoch}, 10 steps an epoch."""
    rows = [
        (*chain, 1 + (epoch - 1) // epochs, every * epoch, 4 * every * epoch, 0.5 * every * epoch, score)
        for chain, scores in design.items()
        for epoch, score in enumerate(scores, start=1)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def contrasts_of(tmp_path):
    def run(design, kept=NOTHING_REMOVED, spread=0.0):
        history = history_of(design)
        files = write_all_counts(tmp_path, history, spread)
        rows, between = compare_convergence(read_curves(history, kept), files, EVALUATION, REPORT)
        return {row["measure"]: row for row in rows}, between

    return run


@pytest.fixture
def measured(tmp_path):
    def run(design):
        history_of(design)[::-1].to_csv(tmp_path / "history.csv", index=False)  # in any order
        NOTHING_REMOVED.to_csv(tmp_path / "kept.csv", index=False)
        paths = [tmp_path / "history.csv", tmp_path / "kept.csv"]
        measure_convergence(*paths, "base", tmp_path / "convergence.csv")
        return pd.read_csv(tmp_path / "convergence.csv", dtype={"threshold": str}).set_index(["arm", "seed", "level"])

    return run


def test_the_target_is_the_level_of_the_lower_of_two_final_scores(measured):
    table = measured({("base", "100", 1): [0.4, 0.76, 0.7, 0.8], ("arm", "90", 1): [0.5, 0.6, 0.58, 0.6]})
    found = table.loc[("arm", 1, 95)]
    assert found["target"] == pytest.approx(0.57)
    assert found[["steps", "images", "seconds", "comparator_steps"]].tolist() == [20, 80, 10.0, 20]
    assert table.loc[("base", 1, 95), "target"] == pytest.approx(0.76)
    assert table.loc[("arm", 1, 95), "area"] == pytest.approx(
        ((0.5 + 0.6) / 2 + (0.6 + 0.58) / 2 + (0.58 + 0.6) / 2) / 3
    )


def test_the_target_is_that_of_the_same_seed(measured):
    design = {("base", "100", 1): [0.5], ("base", "100", 2): [0.9], ("arm", "90", 1): [0.6], ("arm", "90", 2): [0.6]}
    table = measured(design)
    assert table.loc[("arm", 1, 99), "target"] == pytest.approx(0.495)
    assert table.loc[("arm", 2, 99), "target"] == pytest.approx(0.594)


def test_the_target_is_that_of_the_first_of_several_thresholds(measured):
    table = measured({("arm", "90", 1): [0.6], ("base", "50", 1): [0.3], ("base", "90", 1): [0.5]})
    assert table.loc[("arm", 1, 90), "target"] == pytest.approx(0.45)  # the table is in the order of the file


@pytest.mark.parametrize(("first", "last"), [(0, 30), (10, 20), (5, 17), (12, 13), (0, 0), (17, 17)])
def test_weights_give_the_mean_height_of_straight_lines(first, last):
    x, y = np.array([0.0, 10.0, 12.0, 30.0]), np.array([1.0, 5.0, 2.0, 9.0])
    grid = np.linspace(first, last, 100_001)
    expected = np.trapezoid(np.interp(grid, x, y), grid) / (last - first) if last > first else np.interp(first, x, y)
    assert integral_weights(x, first, last) @ y == pytest.approx(expected, abs=1e-6)


SHARED = [0.1, 0.3]  # iteration 1: two epochs, 10 and 20 steps
LATER = {"base": [0.4, 0.5], "arm": [0.6, 0.7]}
PARTED = {
    (arm, "100" if arm == "base" else "90", seed): [
        *(value + seed / 100 for value in SHARED),
        *(value + seed / 50 * (arm == "arm") for value in LATER[arm]),
    ]
    for arm in LATER
    for seed in (1, 2, 3)
}


def test_curves_are_compared_from_where_they_part(contrasts_of):
    curves = read_curves(history_of(PARTED), NOTHING_REMOVED)
    ours, theirs = curves["arm", "90", 1], curves["base", "100", 1]
    assert shared_epochs(ours, theirs) == 2
    found, _ = contrasts_of(PARTED)
    # From 20 to 40 steps: straight lines through (0, .2 + .02 s, .2 + .02 s), in points; mean height 3/4 of that.
    differences = 0.75 * np.array([22.0, 24.0, 26.0])
    row = found["validation_area"]
    assert row["difference"] == pytest.approx(differences.mean())
    assert not row["is_same"]
    low, high = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    assert row["p_value"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_curves_that_meet_again_have_parted():
    design = {("arm", "90", 1): [0.1, 0.2, 0.4, 0.5], ("base", "100", 1): [0.1, 0.3, 0.4, 0.5]}
    curves = read_curves(history_of(design), NOTHING_REMOVED)
    assert shared_epochs(*curves.values()) == 1
    slower = read_curves(history_of({("arm", "90", 1): [0.1, 0.2, 0.4, 0.5]}, every=20), NOTHING_REMOVED)
    assert shared_epochs(curves["arm", "90", 1], slower["arm", "90", 1]) == 0  # the same scores at other steps


def test_curves_without_a_shared_epoch_are_compared_from_the_first_that_both_have(contrasts_of):
    quick, slow = (
        history_of({chain: scores}, every=every)
        for chain, scores, every in (
            (("arm", "90", 1), [0.2, 0.4, 0.6, 0.8], 10),
            (("base", "100", 1), [0.1, 0.2, 0.3, 0.4], 20),
        )
    )
    curves = read_curves(pd.concat([quick, slow]), NOTHING_REMOVED)
    ours, theirs = curves["arm", "90", 1], curves["base", "100", 1]
    for pair in ((ours, theirs), (theirs, ours)):
        heights = [curve.score @ weights for curve, weights in zip(pair, area_weights(*pair, "steps"), strict=True)]
        assert sorted(heights) == pytest.approx([15, 60])  # from 20 to 40 steps


def test_of_one_seed_the_steps_have_no_test(contrasts_of):
    row = contrasts_of({chain: scores for chain, scores in PARTED.items() if chain[2] == 1})[0]["steps_to_95"]
    assert (row["n"], row["p_wilcoxon"]) == (1, 1)
    assert np.isnan(row["p_value"])


def test_a_thousand_resamples_are_enough(tmp_path):
    history = history_of(PARTED)
    files = write_all_counts(tmp_path, history, 0.2)
    errors = [
        compare_convergence(
            read_curves(history, NOTHING_REMOVED), files, EVALUATION | {"resamples": resamples}, REPORT
        )[0][0]["image_sd"]
        for resamples in (1000, 1300)
    ]
    assert errors[0] == errors[1]


def test_the_interval_is_over_the_validation_images_too(contrasts_of):
    def width(spread):
        row = contrasts_of(PARTED, spread=spread)[0]["validation_area"]
        return row["ci_high"] - row["ci_low"], row["image_sd"], row["difference"]

    assert width(0.0)[1] == pytest.approx(0, abs=1e-4)
    (narrow, _, difference), (wide, image_sd, same) = width(0.0), width(0.2)
    assert difference == pytest.approx(same)
    assert wide > narrow
    assert image_sd > 0.1


def test_counts_of_another_training_are_refused(tmp_path):
    history = history_of(PARTED)
    files = write_all_counts(tmp_path, history)
    changed = history.assign(validation_mean_iou=history["validation_mean_iou"] + 1.5e-9)
    with pytest.raises(InputError, match=r"_v\.h5: its counts do not give the scores of history\.csv"):
        compare_convergence(read_curves(changed, NOTHING_REMOVED), files, EVALUATION, REPORT)


def test_counts_of_more_epochs_of_another_shape_or_of_other_images_are_refused(tmp_path):
    history = history_of(PARTED)
    curves = read_curves(history, NOTHING_REMOVED)
    files = write_all_counts(tmp_path, history)
    place = ("base", "100", "2", 2)
    scores = PARTED["base", "100", 2][2:]
    write_validation_counts(files[place], [*scores, 0.9])
    with pytest.raises(InputError, match=r"base_100_2_2_v\.h5: its counts do not give the scores"):
        compare_convergence(curves, files, EVALUATION, REPORT)
    with create_hdf5(files[place], "validation_counts") as file:
        file["confusion"] = np.ones((2, 2, 2))
    with pytest.raises(InputError, match=r"base_100_2_2_v\.h5: its counts do not give the scores"):
        compare_convergence(curves, files, EVALUATION, REPORT)
    write_validation_counts(files[place], scores, images=6)
    with pytest.raises(InputError, match=r"base_100_2_2_v\.h5: counts of 6 validation images, others have 8; delete"):
        compare_convergence(curves, files, EVALUATION, REPORT)


def test_areas_end_with_the_shorter_curve(contrasts_of):
    longer = {**PARTED, **{("base", "100", seed): [*PARTED["base", "100", seed], 0.9, 0.9] for seed in (1, 2, 3)}}
    assert contrasts_of(longer)[0]["validation_area"]["difference"] == pytest.approx(18, abs=1e-4)


def test_arms_that_share_all_steps_are_not_comparable(contrasts_of):
    single = {chain: scores[:2] if chain[0] == "base" else scores for chain, scores in PARTED.items()}
    curves = read_curves(history_of(single), NOTHING_REMOVED)
    assert area_weights(curves["arm", "90", 1], curves["base", "100", 1], "steps") is None
    found, _ = contrasts_of(single)
    assert all(found[measure]["is_same"] for measure in ("validation_area", "validation_area_pixels", "steps_to_95"))
    assert "p_value" not in found["validation_area"]


def test_against_kept_pixels_a_curve_that_sees_half_is_twice_as_fast(contrasts_of):
    kept = pd.DataFrame([("arm", "90", seed, 2, "kept_share", "all", 50.0) for seed in (1, 2, 3)], columns=KEPT)
    same = {chain: [*scores[:2], 0.4, 0.5] for chain, scores in PARTED.items()}
    same = {chain: [value + 1e-9 * (chain[0] == "arm") for value in scores] for chain, scores in same.items()}
    for seed in (1, 2, 3):
        same["arm", "90", seed][:2] = same["base", "100", seed][:2]
    curves = read_curves(history_of(same), kept)
    assert curves["arm", "90", 1].pixels.tolist() == [40, 80, 100, 120]
    assert curves["base", "100", 1].pixels.tolist() == [40, 80, 120, 160]
    found, _ = contrasts_of(same, kept)
    assert found["validation_area"]["difference"] == pytest.approx(0, abs=1e-6)
    # From 80 to 120: ours through .3 + s / 100, .4, .5, theirs through .3 + s / 100, .4.
    assert found["validation_area_pixels"]["difference"] == pytest.approx(100 * ((0.32 + 2 * 0.4 + 0.5) / 4 - 0.36))


def test_fewer_steps_to_a_score_that_both_reach_are_better(contrasts_of):
    design = {}
    for seed in range(6):
        design["base", "100", seed] = [0.5, 0.6, 0.6, 0.8 + 0.001 * seed]
        design["arm", "90", seed] = [0.5, 0.79, 0.9, 0.9]
    row = contrasts_of(design)[0]["steps_to_95"]
    assert (row["difference"], row["n"], row["p_value"], row["probability_better"]) == (-20, 6, 2 / 2**6, 1)
    turned = {("base" if arm == "arm" else "arm", at, seed): scores for (arm, at, seed), scores in design.items()}
    turned = {(arm, "100" if arm == "base" else "90", seed): scores for (arm, _, seed), scores in turned.items()}
    assert contrasts_of(turned)[0]["steps_to_95"]["difference"] == 20  # the target favours neither side


def test_thresholds_are_compared_with_each_other(contrasts_of):
    other = {("arm", "50", seed): [*scores[:2], 0.3, 0.4] for (arm, _, seed), scores in PARTED.items() if arm == "arm"}
    _, (row,) = contrasts_of({**PARTED, **other})
    assert (row["threshold"], row["other_threshold"], row["n"]) == ("90", "50", 3)
    gaps = 0.75 * np.array([22.0, 24.0, 26.0]) + 7.5  # minus the other's: 0, -10, -10 points
    assert row["difference"] == pytest.approx(gaps.mean())
    assert row["p_value"] == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)


def test_a_threshold_with_which_nothing_is_left_to_compare_has_no_place_among_thresholds(contrasts_of):
    other = {
        ("arm", "50", seed): PARTED[("base", "100", seed) if seed > 1 else ("arm", "90", seed)] for seed in (1, 2, 3)
    }
    found, between = contrasts_of({**PARTED, **other})
    assert between == []
    # The rows of the last threshold: the first seed differs by 18 points, the others by nothing.
    assert (found["validation_area"]["n"], found["validation_area"]["is_same"]) == (3, False)
    assert found["validation_area"]["difference"] == pytest.approx(0.75 * 22 / 3)
