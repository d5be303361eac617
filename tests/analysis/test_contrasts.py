import numpy as np
import pandas as pd
import pytest

from spatial_reduction.analysis.contrasts import COLUMNS, compare_arms
from spatial_reduction.analysis.counts_file import measure_counts, pool, pool_resamples, read_counts
from spatial_reduction.analysis.statistics import image_weights
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5

CLASSES = ["background", "pet"]
EVALUATION = {
    "comparators": ["base"],
    "measures": ["mean_iou", "binary_iou", "pixel_accuracy", "mean_boundary_iou", "ece", "nll", "corruption_drop"],
    "class_groups": {},
    "foreground": ["pet"],
    "margin": 0.5,
    "resamples": 700,
}
EVALUATION["measures"] += ["background_swapped_drop", "background_blurred_drop"]


def confusion(accuracy, images=20, pixels=100):
    """Matrices of images whose every class has the given share of pixels right."""
    right = round(accuracy * pixels / 2)
    wrong = pixels // 2 - right
    return np.tile(np.array([[right, wrong], [wrong, right]]), (1, images, 1, 1))


def write_counts(path, accuracies):
    """Write a chain of one iteration from {protocol: accuracy}."""
    with create_hdf5(path, "counts") as file:
        file.attrs["classes"] = CLASSES
        for protocol, accuracy in accuracies.items():
            file[f"{protocol}/test/confusion"] = confusion(accuracy)


@pytest.fixture
def compare(tmp_path):
    """Compare chains given as {(arm, threshold): [one accuracy, or {protocol: accuracy}, per seed]}."""

    def run(design, **changes):
        chains, paths, history = [], [], []
        for (arm, threshold), values in design.items():
            for seed, value in enumerate(values):
                chains.append([arm, threshold, str(seed)])
                paths.append(tmp_path / f"{arm}_{threshold}_{seed}.h5")
                write_counts(paths[-1], value if isinstance(value, dict) else {"intact": value})
                history += [(*chains[-1], step, 0.1 * step) for step in (1, 2)]
        columns = ["arm", "threshold", "seed", "cumulative_steps", "validation_mean_iou"]
        pd.DataFrame(history, columns=columns).to_csv(tmp_path / "history.csv", index=False)
        outputs = {name: tmp_path / f"{name}.csv" for name in ("contrasts", "racu")}
        compare_arms(paths, chains, tmp_path / "history.csv", EVALUATION | changes, **outputs)
        return pd.read_csv(outputs["contrasts"], dtype={"threshold": str})

    return run


def only(table, **wanted):
    """The one row with the wanted values."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_contrasts_are_paired_differences_in_points(compare):
    table = compare(
        {("base", "100"): [0.5, 0.6, 0.7], ("arm", "90"): [0.6, 0.72, 0.78], ("arm", "50"): [0.4, 0.5, 0.6]}
    )
    assert list(table.columns) == COLUMNS
    row = only(table, threshold="90", measure="pixel_accuracy")
    assert (row["arm"], row["comparator"], row["protocol"], row["class"], row["n"]) == (
        "arm",
        "base",
        "intact",
        "all",
        3,
    )
    assert row["difference"] == pytest.approx(10)
    assert row["ci_low"] < 10 < row["ci_high"]
    assert only(table, threshold="50", measure="pixel_accuracy")["difference"] == pytest.approx(-10)


def test_a_comparator_that_reduces_is_compared_at_the_same_threshold(compare):
    table = compare(
        {
            ("base", "90"): [0.8, 0.82],
            ("base", "50"): [0.4, 0.42],
            ("arm", "90"): [0.7, 0.74],
            ("arm", "70"): [0.6, 0.6],
        }
    )
    row = only(table, measure="pixel_accuracy")  # top 70 % has no counterpart
    assert (row["threshold"], row["comparator_threshold"]) == ("90", 90)
    assert row["difference"] == pytest.approx(-9)


def test_a_smaller_loss_on_changed_images_is_better(compare):
    base = [{"intact": 0.9, "noise_1": 0.5 + seed / 50, "blur_3": 0.7, "background_swapped": 0.5} for seed in range(4)]
    arm = [{"intact": 0.9, "noise_1": 0.8 + seed / 50, "blur_3": 0.8, "background_swapped": 0.3} for seed in range(4)]
    table = compare({("base", "100"): base, ("arm", "90"): arm})
    drop = only(table, measure="corruption_drop")
    assert (drop["protocol"], drop["decision"], drop["probability_better"]) == ("corrupted", "supported", 1)
    # Accuracy a in both of two equal classes is mean IoU a / (2 - a).
    before, after = ((0.5 / 1.5 + 0.7 / 1.3) / 2, (0.8 / 1.2 + 0.8 / 1.2) / 2)
    first_seed = only(compare({("base", "100"): base[:1], ("arm", "90"): arm[:1]}), measure="corruption_drop")
    assert first_seed["difference"] == pytest.approx(100 * (before - after))
    swapped = only(table, measure="background_swapped_drop")
    assert (swapped["decision"], swapped["class"]) == ("refuted", "foreground")
    assert swapped["difference"] == pytest.approx(100 * (0.5 / 1.5 - 0.3 / 1.7))
    itself = only(table, protocol="background_swapped", measure="binary_iou")
    assert itself["difference"] == pytest.approx(-swapped["difference"])
    assert "background_blurred_drop" not in set(table["measure"])


def test_a_comparator_without_masks_segments_the_intact_image(compare):
    base, arm = (
        [{"intact": 0.6}, {"intact": 0.7}],
        [
            {"intact": 0.5, "self_masked": 0.8, "label_masked": 0.9},
            {"intact": 0.5, "self_masked": 0.9, "label_masked": 0.9},
        ],
    )
    table = compare({("base", "100"): base, ("arm", "90"): arm}, measures=["pixel_accuracy"])
    found = table[table["measure"] == "pixel_accuracy"].set_index("protocol")["difference"]
    assert found.to_dict() == pytest.approx({"intact": -15, "self_masked": 20, "label_masked": 25})


def test_arms_are_compared_with_random_over_all_thresholds(compare, tmp_path):
    design = {("random", "90"): [0.6], ("random", "70"): [0.4], ("arm", "90"): [0.6], ("arm", "70"): [0.5]}
    compare(design, comparators=["random"])
    row = pd.read_csv(tmp_path / "racu.csv").iloc[0]
    # Accuracy a in both of two equal classes is mean IoU a / (2 - a): .6 -> 3/7, .5 -> 1/3, .4 -> 1/4.
    assert row["area"] == pytest.approx(100 * (1 / 3 - 1 / 4) / 2)
    assert row["racu"] == pytest.approx((1 / 3 - 1 / 4) / (3 / 7 - 1 / 4))


def test_an_experiment_of_one_arm_has_a_table_without_rows(compare):
    table = compare({("base", "100"): [0.5, 0.6]})
    assert (len(table), list(table.columns)) == (0, COLUMNS)


def test_holm_is_over_the_arms_against_one_comparator_in_one_measure_and_protocol(compare):
    arms = {("base", "100"): [0.5, 0.6, 0.7], ("arm", "90"): [0.6, 0.72, 0.78], ("arm", "50"): [0.4, 0.52, 0.6]}
    design = {
        place: [{"intact": value, "self_masked": value - 0.1} for value in values] for place, values in arms.items()
    }
    families = compare(design).groupby(["comparator", "protocol", "measure", "class"])
    assert len(families) > 5
    for _, family in families:
        assert len(family) == 2
        assert family["p_holm"].min() == pytest.approx(min(1, 2 * family["p_value"].min()))


def test_an_arm_compared_with_its_double_is_equivalent(compare):
    table = compare({("base", "100"): [0.5, 0.6, 0.7], ("double", "100"): [0.5, 0.6, 0.7]})
    assert set(table[table["measure"] != "steps_to_95"]["decision"]) == {"equivalent"}
    assert (table["difference"] == 0).all()


def test_the_same_files_give_the_same_bytes(compare, tmp_path):
    design = {("base", "100"): [0.5, 0.6], ("arm", "90"): [0.6, 0.72]}
    compare(design)
    first = (tmp_path / "contrasts.csv").read_bytes()
    compare(design)
    assert (tmp_path / "contrasts.csv").read_bytes() == first


def test_every_measure_of_a_resample_is_that_of_the_images_drawn(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"intact/test/confusion": (2, 2), "intact/test/boundary": (2, 2), "intact/test/reliability": (15, 3)}
    shapes |= {
        "intact/test/objects": (2, 2),
        "intact/test/nll": (2,),
        "jpeg_2/test/confusion": (2, 2),
        "background_blurred/test/confusion": (2, 2),
    }
    with create_hdf5(tmp_path / "counts.h5", "counts") as file:
        file.attrs["classes"] = CLASSES
        for name, shape in shapes.items():
            file[name] = rng.integers(1, 50, (2, 9, *shape))
        file["intact/test/objects"].attrs["measures"] = ["seg", "warping_error"]
    counts, classes = read_counts(tmp_path / "counts.h5")
    weights = image_weights(9, 600, seed=0)
    resampled = measure_counts(pool_resamples(counts, weights), classes, {}, ["pet"])
    drawn = {name: np.repeat(values, weights[599], axis=0) for name, values in counts.items()}
    expected = {key: float(value) for key, value in measure_counts(pool(drawn), classes, {}, ["pet"]).items()}
    assert {("intact", "ece", "all"), ("intact", "seg", "all"), ("intact", "warping_error", "all")} <= set(expected)
    assert {key: value[599] for key, value in resampled.items()} == pytest.approx(expected, rel=1e-5)


def test_calibration_and_boundaries_by_hand(tmp_path):
    with create_hdf5(tmp_path / "counts.h5", "counts") as file:
        file.attrs["classes"] = CLASSES
        file["intact/test/confusion"] = confusion(0.8, images=2)
        file["intact/test/boundary"] = np.array([[[[1, 4], [0, 0]], [[1, 4], [3, 4]]]])
        reliability = np.zeros((1, 2, 15, 3))
        reliability[0, :, 7], reliability[0, 1, 14] = (10, 5.0, 7.0), (20, 19.0, 15.0)
        file["intact/test/reliability"] = reliability
        file["intact/test/nll"] = np.array([[[30.0, 100.0], [10.0, 100.0]]])
    counts, classes = read_counts(tmp_path / "counts.h5")
    values = measure_counts(pool(counts), classes, {}, ["pet"])
    assert values["intact", "mean_boundary_iou", "all"] == pytest.approx((2 / 8 + 3 / 4) / 2)
    assert values["intact", "ece", "all"] == pytest.approx((4 + 4) / 40)
    assert values["intact", "nll", "all"] == pytest.approx(0.2)


@pytest.fixture
def compare_objects(tmp_path):
    """Compare two chains of four images with the given counts of objects, {measure: (N, 2)} per chain."""

    def run(base, arm):
        for name, measures in (("base", base), ("arm", arm)):
            with create_hdf5(tmp_path / f"{name}.h5", "counts") as file:
                file.attrs["classes"] = CLASSES
                file["intact/test/confusion"] = confusion(0.8, images=4)
                file["intact/test/objects"] = np.stack(list(measures.values()), axis=1)[None].astype(float)
                file["intact/test/objects"].attrs["measures"] = list(measures)
        chains = [["base", "100", "1"], ["arm", "90", "1"]]
        columns = ["arm", "threshold", "seed", "cumulative_steps", "validation_mean_iou"]
        pd.DataFrame([(*chain, 1, 0.1) for chain in chains], columns=columns).to_csv(
            tmp_path / "history.csv", index=False
        )
        outputs = {name: tmp_path / f"{name}.csv" for name in ("contrasts", "racu")}
        evaluation = EVALUATION | {"measures": list(base)}
        compare_arms(
            [tmp_path / "base.h5", tmp_path / "arm.h5"], chains, tmp_path / "history.csv", evaluation, **outputs
        )
        return pd.read_csv(outputs["contrasts"], dtype={"threshold": str})

    return run


def test_measures_of_objects_by_hand(compare_objects):
    base = {
        "rand_error": [(0.2, 1), (0.4, 1), (0.6, 1), (0, 0)],  # the last image has no object: mean .4 of three
        "variation_of_information": [(1.5, 1), (0.5, 1), (1.0, 1), (0, 0)],  # mean 1 bit
        "seg": [(0.5, 1), (1.0, 2), (1.5, 5), (0, 0)],  # 3 of 8
        "object_f1": [(2, 2), (0, 4), (2, 8), (0, 2)],  # 4 of 16
    }
    arm = {
        "rand_error": [(0.1, 1), (0.4, 1), (0.1, 1), (0, 0)],  # mean .2
        "variation_of_information": [(1.5, 1), (0.75, 1), (1.0, 1), (0, 0)],  # mean 3.25 / 3 bits
        "seg": [(0.5, 1), (1.0, 2), (3.5, 5), (0, 0)],  # 5 of 8
        "object_f1": [(2, 2), (4, 4), (2, 8), (0, 2)],  # 8 of 16
    }
    table = compare_objects(base, arm)
    found = {row["measure"]: row for _, row in table.iterrows() if row["measure"] in base}
    differences = {name: row["difference"] for name, row in found.items()}
    assert differences == pytest.approx(
        {"rand_error": -20, "variation_of_information": 0.25 / 3, "seg": 25, "object_f1": 25}
    )
    assert {(row["protocol"], row["class"]) for row in found.values()} == {("intact", "all")}
    better = {name: row["probability_better"] for name, row in found.items()}
    assert better == {"rand_error": 1, "variation_of_information": 0, "seg": 1, "object_f1": 1}


def test_measures_of_objects_are_found_by_name_in_any_order(compare_objects):
    base = {"seg": [(0.25, 1)] * 4, "pixel_error": [(1, 10)] * 4}
    table = compare_objects(base, dict(reversed(base.items())))
    found = table[table["measure"].isin(list(base))]
    assert (len(found), set(found["difference"])) == (2, {0})


def test_chains_of_other_test_images_are_refused(compare, tmp_path):
    compare({("base", "100"): [0.5]})
    with create_hdf5(tmp_path / "other.h5", "counts") as file:
        file.attrs["classes"] = CLASSES
        file["intact/test/confusion"] = confusion(0.5, images=3)
    paths, chains = [tmp_path / "base_100_0.h5", tmp_path / "other.h5"], [["base", "100", "0"], ["arm", "90", "0"]]
    with pytest.raises(InputError, match=r"other\.h5: 3 test images, others have 20"):
        compare_arms(
            paths, chains, tmp_path / "history.csv", EVALUATION, tmp_path / "contrasts.csv", tmp_path / "racu.csv"
        )


def test_a_damaged_file_of_counts_is_named(tmp_path):
    (tmp_path / "bad.h5").write_bytes(b"")
    arguments = [[tmp_path / "bad.h5"], [["base", "100", "1"]], tmp_path / "history.csv", EVALUATION]
    with pytest.raises(InputError, match=r"bad\.h5: not a readable HDF5 file"):
        compare_arms(*arguments, tmp_path / "contrasts.csv", tmp_path / "racu.csv")
    assert not (tmp_path / "contrasts.csv").exists()
