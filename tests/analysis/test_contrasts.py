import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from learning_curves import write_all_counts
from spatial_reduction.analysis.contrasts import COLUMNS, compare_arms
from spatial_reduction.analysis.counts_file import measure_counts, pool, pool_resamples, read_counts
from spatial_reduction.analysis.looks import read_earlier_looks
from spatial_reduction.analysis.tables import read_contrasts
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5

CLASSES = ["background", "pet"]
EVALUATION = {
    "comparators": ["base"],
    "controls": [],
    "measures": ["mean_iou", "binary_iou", "pixel_accuracy", "mean_boundary_iou", "ece", "nll", "corruption_drop"],
    "class_groups": {},
    "foreground": ["pet"],
    "margins": {"default": 0.5},
    "resamples": 700,
}
REPORT = {"method": "arm", "measure": "mean_iou", "class_group": "all"}
HISTORY = ["arm", "threshold", "seed", "iteration", "cumulative_steps", "cumulative_images", "cumulative_seconds"]
HISTORY += ["validation_mean_iou"]
KEPT = ["arm", "threshold", "seed", "iteration", "measure", "class", "value"]
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


def run_comparison(folder, paths, chains, evaluation, report=REPORT, reference=0.01):
    """Compare chains whose learning curves rise; return `contrasts.csv`.

    A predictor that sees no image has mean IoU `reference`.
    """
    rows, kept = [], []
    for number, (arm, threshold, seed) in enumerate(chains):
        rise = 0.2 + 0.01 * number**1.5
        rows += [(arm, threshold, seed, 1, step, 4 * step, float(step), rise * step) for step in (1, 2)]
        kept.append((arm, threshold, seed, 2, "kept_share", "all", float(threshold)))
    history = pd.DataFrame(rows, columns=HISTORY)
    history.to_csv(folder / "history.csv", index=False)
    pd.DataFrame(kept, columns=KEPT).to_csv(folder / "kept_pixels.csv", index=False)
    references = {"predictor": "position_prior", "split": "test", "measure": "mean_iou", "class": "all"}
    pd.DataFrame([references | {"value": reference}]).to_csv(folder / "references.csv", index=False)
    tables = {name: folder / f"{name}.csv" for name in ("history", "kept_pixels", "references")}
    outputs = {name: folder / f"{name}.csv" for name in ("contrasts", "interactions", "racu")}
    validation, seen = write_all_counts(folder, history), folder / "seeds_seen.json"
    compare_arms(paths, chains, validation, tables, evaluation, report, outputs, seen=seen)
    return read_contrasts(outputs["contrasts"])


@pytest.fixture
def compare(tmp_path):
    """Compare chains given as {(arm, threshold): [one accuracy, or {protocol: accuracy}, per seed]}.

    The arm `arm` is the method, `base` the primary comparator.
    """

    def run(design, reference=0.01, **changes):
        chains, paths = [], []
        for (arm, threshold), values in design.items():
            for seed, value in enumerate(values):
                chains.append([arm, threshold, str(seed)])
                paths.append(tmp_path / f"{arm}_{threshold}_{seed}.h5")
                write_counts(paths[-1], value if isinstance(value, dict) else {"intact": value})
        return run_comparison(tmp_path, paths, chains, EVALUATION | changes, reference=reference)

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
    assert (row["threshold"], row["comparator_threshold"]) == ("90", "90")
    assert row["difference"] == pytest.approx(-9)


def test_a_smaller_loss_on_changed_images_is_better(compare):
    base = [{"intact": 0.9, "noise_1": 0.5 + seed / 50, "blur_3": 0.7, "background_swapped": 0.5} for seed in range(4)]
    arm = [
        {"intact": 0.9, "noise_1": 0.8 + seed / 50, "blur_3": 0.8, "background_swapped": 0.3 + seed / 50}
        for seed in range(4)
    ]
    table = compare({("base", "100"): base, ("arm", "90"): arm})
    drop = only(table, measure="corruption_drop")
    assert (drop["protocol"], drop["decision"], drop["probability_better"]) == ("corrupted", "supported", 1)
    # Accuracy a in both of two equal classes is mean IoU a / (2 - a).
    before, after = ((0.5 / 1.5 + 0.7 / 1.3) / 2, (0.8 / 1.2 + 0.8 / 1.2) / 2)
    first_seed = only(compare({("base", "100"): base[:1], ("arm", "90"): arm[:1]}), measure="corruption_drop")
    assert first_seed["difference"] == pytest.approx(100 * (before - after))
    swapped = only(table, measure="background_swapped_drop")
    assert (swapped["decision"], swapped["class"]) == ("refuted", "foreground")
    lost = [0.5 / 1.5 - (0.3 + seed / 50) / (1.7 - seed / 50) for seed in range(4)]
    assert swapped["difference"] == pytest.approx(100 * np.mean(lost))
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
    compare({("base", "100"): [0.7], **design})
    row = pd.read_csv(tmp_path / "racu.csv").iloc[0]
    # Accuracy a in both of two equal classes is mean IoU a / (2 - a): .6 -> 3/7, .5 -> 1/3, .4 -> 1/4.
    assert row["area_over_random"] == pytest.approx(100 * (1 / 3 - 1 / 4) / 2)
    # The base, .7, is 7/13 with nothing removed. Removed 0, 10, 30: arm minus random 0, 0, 1/12, random minus its last
    # 7/13 - 1/4, 3/7 - 1/4, 0.
    start, middle = 7 / 13 - 1 / 4, 3 / 7 - 1 / 4
    assert row["racu"] == pytest.approx((20 * 1 / 12 / 2) / (10 * (start + middle) / 2 + 20 * middle / 2))


def test_without_a_comparator_of_intact_images_the_area_is_not_relative(compare, tmp_path):
    thresholds = {"90": [0.6], "70": [0.4]}
    compare({(arm, at): values for arm in ("base", "random", "arm") for at, values in thresholds.items()})
    table = pd.read_csv(tmp_path / "racu.csv").set_index("arm")
    assert table["area_over_random"].to_dict() == pytest.approx({"base": 0, "arm": 0}, abs=1e-9)
    assert table["racu"].isna().all()


def test_a_comparison_of_more_seeds_knows_the_one_before(compare, tmp_path):
    design = {
        ("base", "100"): [0.8, 0.81, 0.82, 0.8],
        ("arm", "90"): [0.7, 0.72, 0.71, 0.7],
        ("other", "90"): [0.6] * 4,
    }
    for count, known in ((3, []), (3, []), (4, [3])):
        compare({setting: values[:count] for setting, values in design.items()})
        assert read_earlier_looks(tmp_path / "seeds_seen.json") == known
    last = json.loads((tmp_path / "seeds_seen.json").read_text())[-1]
    shares = {"base 100": [0.8, 0.8, 0.82, 0.8], "arm 90": [0.7, 0.72, 0.72, 0.7]}  # of 50 pixels
    assert list(last) == ["0", "1", "2", "3"]
    for place, found in enumerate(last.values()):
        right = {name: values[place] for name, values in shares.items()}
        assert found == pytest.approx({name: 100 * share / (2 - share) for name, share in right.items()})
    compare(design | {("other", "90"): [0.5] * 4})  # an arm that decides nothing is another now
    assert read_earlier_looks(tmp_path / "seeds_seen.json") == [3]
    compare(design | {("arm", "90"): [0.71] * 5, ("base", "100"): [0.8] * 5, ("other", "90"): [0.6] * 5})
    assert read_earlier_looks(tmp_path / "seeds_seen.json") == []


def test_an_experiment_of_one_arm_has_a_table_without_rows(compare):
    table = compare({("base", "100"): [0.5, 0.6]})
    assert (len(table), list(table.columns)) == (0, COLUMNS)


HARMED = {("base", "100"): [0.8, 0.81, 0.82, 0.8], ("arm", "90"): [0.7, 0.72, 0.71, 0.7]}
HARMED |= {("arm", "50"): [0.75, 0.76, 0.75, 0.74], ("shuffled", "90"): [0.6, 0.61, 0.6, 0.62]}
HARMED |= {("shuffled", "50"): [0.5, 0.52, 0.5, 0.51], ("other", "90"): [0.7, 0.7, 0.72, 0.71]}


def with_changed_images(design, less=0.1):
    protocols = ("intact", "noise_1", "background_swapped")
    return {
        place: [{name: value - less * (name != "intact") for name in protocols} for value in values]
        for place, values in design.items()
    }


def test_the_method_is_asked_in_families_and_all_else_decides_nothing(compare):
    table = compare(with_changed_images(HARMED), controls=["shuffled"])
    families = dict(list(table.groupby("family")))
    assert {name: len(rows) for name, rows in families.items() if name != "exploratory"} == {
        "primary": 2,  # thresholds
        "secondary": 6,  # of each, the three other hypotheses
        "control": 2,
    }
    assert set(families["primary"]["measure"]) == {"mean_iou"}
    assert set(families["secondary"]["measure"]) == {
        "corruption_drop",
        "validation_area",
        "background_swapped_drop",
    }
    assert set(families["control"]["comparator"]) == {"shuffled"}
    for name in ("primary", "secondary", "control"):
        rows = families[name]
        assert set(rows["arm"]) == {"arm"}
        for column, adjusted in (("p_value", "p_holm"), ("p_equivalence", "p_equivalence_holm")):
            assert rows[adjusted].tolist() == pytest.approx(multipletests(rows[column], method="holm")[1])
    rest = families["exploratory"]
    assert set(rest["decision"]) <= {"", "not_comparable", "undefined"}
    assert rest["p_holm"].isna().all()
    assert rest["p_value"].notna().any()
    assert {"other", "shuffled"} <= set(rest["arm"])


def test_a_control_is_compared_with_the_method_alone(compare):
    table = compare(HARMED, controls=["shuffled"])
    assert set(table[table["comparator"] == "shuffled"]["arm"]) == {"arm"}


def test_a_claim_needs_three_seeds(compare):
    design = {("base", "100"): [0.5, 0.51, 0.49], ("arm", "90"): [0.7, 0.72, 0.69]}
    assert only(compare(design), measure="mean_iou")["decision"] == "supported"
    two = compare({place: values[:2] for place, values in design.items()})
    assert set(two[two["family"] != "exploratory"]["decision"]) == {"undecided"}


def test_a_network_no_better_than_one_that_sees_no_image_has_not_learnt(compare):
    design = {("base", "100"): [0.5, 0.51, 0.49], ("arm", "90"): [0.7, 0.72, 0.69], ("other", "90"): [0.7, 0.7, 0.71]}
    # Accuracy .5 in both of two equal classes is mean IoU 1/3: within the margin of half a point of the reference.
    table = compare(design, reference=0.33)
    assert set(table["decision"]) == {"not_learnt"}  # the base, on one side of all
    table = compare({**design, ("base", "100"): [0.4] * 3}, reference=0.245)  # 25 %: better by no more than the margin
    assert set(table["decision"]) == {"not_learnt"}
    table = compare(design, reference=0.31)
    assert only(table, arm="arm", measure="mean_iou")["decision"] == "supported"


def test_arms_that_are_the_same_are_not_comparable(compare):
    table = compare({("base", "100"): [0.5, 0.6, 0.7], ("arm", "100"): [0.5, 0.6, 0.7]})
    models = table[table["protocol"] != "validation"]
    assert set(models["decision"]) == {"not_comparable"}
    assert (models["difference"] == 0).all()


def test_without_any_spread_there_is_no_claim(compare):
    row = only(compare({("base", "100"): [0.5] * 3, ("arm", "90"): [0.6] * 3}), measure="mean_iou")
    assert (row["seed_sd"], row["decision"]) == (0, "undefined")
    assert row["image_sd"] < 1e-4  # rounding of float32


def test_a_smaller_loss_of_who_scores_lower_is_no_claim(compare):
    # Background everywhere loses nothing. Here both lose, the arm less, and it scores lower on the changed images too.
    base = [{"intact": 0.9, "noise_1": 0.7 + seed / 50} for seed in range(4)]
    arm = [{"intact": 0.6, "noise_1": 0.58 + seed / 100} for seed in range(4)]
    row = only(compare({("base", "100"): base, ("arm", "90"): arm}), measure="corruption_drop")
    assert row["difference"] < 0
    assert row["p_holm"] < 0.05
    assert (row["decision"], row["less_to_lose"], row["seeds_needed"]) == ("undecided", True, np.inf)
    assert row["start_difference"] == pytest.approx(100 * (0.6 / 1.4 - 0.9 / 1.1))
    fair = [{"intact": 0.9, "noise_1": 0.8 + seed / 100} for seed in range(4)]
    row = only(compare({("base", "100"): base, ("arm", "90"): fair}), measure="corruption_drop")
    assert (row["decision"], row["less_to_lose"]) == ("supported", False)


def test_every_measure_has_its_own_margin(compare):
    table = compare(HARMED, margins={"default": 2, "nll": 0.3, "pixel_accuracy": 7})
    margins = table.groupby("measure")["margin"].first()
    assert margins[["mean_iou", "pixel_accuracy", "validation_area"]].tolist() == [2, 7, 2]


def test_thresholds_are_compared_with_each_other(compare, tmp_path):
    table = compare(HARMED)
    found = pd.read_csv(tmp_path / "interactions.csv", dtype={"threshold": str, "other_threshold": str})
    row = only(found, measure="mean_iou")
    assert (row["threshold"], row["other_threshold"], row["family"]) == ("90", "50", "primary")
    each = table[(table["arm"] == "arm") & (table["measure"] == "mean_iou")].set_index("threshold")["difference"]
    assert row["difference"] == pytest.approx(each["90"] - each["50"])
    right = [[round(50 * value) / 50 for value in HARMED["arm", at]] for at in ("90", "50")]  # of 50 pixels
    points = [[100 * value / (2 - value) for value in values] for values in right]
    assert row["p_value"] == pytest.approx(stats.ttest_rel(*points).pvalue)  # the base cancels, the images add nothing


def test_the_same_files_give_the_same_bytes(compare, tmp_path):
    design = {("base", "100"): [0.5, 0.6], ("arm", "90"): [0.6, 0.72]}
    compare(design)
    first = (tmp_path / "contrasts.csv").read_bytes()
    compare(design)
    assert (tmp_path / "contrasts.csv").read_bytes() == first


def test_a_class_that_the_labels_lack_counts_for_no_model():
    counts = {"intact/confusion": np.zeros((20, 3, 3), dtype=int)}
    counts["intact/confusion"][:, :2, :2] = confusion(0.6)[0]
    values = measure_counts(pool(counts), [*CLASSES, "border"], {}, ["pet"])
    assert values["intact", "mean_iou", "all"] == pytest.approx(0.6 / 1.4)
    counts["intact/confusion"][:, 0, 1] -= 2
    counts["intact/confusion"][:, 0, 2] += 2
    values = measure_counts(pool(counts), [*CLASSES, "border"], {}, ["pet"])
    assert values["intact", "mean_iou", "all"] == pytest.approx((30 / 70 + 30 / 68) / 2)


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
    weights = np.random.default_rng(1).integers(0, 3, (600, 9))
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
        evaluation = EVALUATION | {"measures": list(base)}
        return run_comparison(tmp_path, [tmp_path / "base.h5", tmp_path / "arm.h5"], chains, evaluation)

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
    with pytest.raises(InputError, match=r"other\.h5: its 3 test images are not the 20 of .*base_100_0\.h5"):
        run_comparison(tmp_path, paths, chains, EVALUATION)


def test_as_many_test_images_in_another_order_are_refused(tmp_path):
    for name, order in (("base", [0, 1]), ("arm", [1, 0])):
        with create_hdf5(tmp_path / f"{name}.h5", "counts") as file:
            file.attrs["classes"] = CLASSES
            file["intact/test/confusion"] = np.array([[[4, 1], [0, 5]], [[3, 0], [1, 6]]])[order][None]
    paths, chains = [tmp_path / "base.h5", tmp_path / "arm.h5"], [["base", "100", "0"], ["arm", "90", "0"]]
    with pytest.raises(
        InputError, match=r"arm\.h5: its 2 test images are not the 2 of .*base\.h5, or not in their order"
    ):
        run_comparison(tmp_path, paths, chains, EVALUATION)


def test_a_damaged_file_of_counts_is_named(tmp_path):
    (tmp_path / "bad.h5").write_bytes(b"")
    with pytest.raises(InputError, match=r"bad\.h5: not a readable HDF5 file"):
        run_comparison(tmp_path, [tmp_path / "bad.h5"], [["base", "100", "1"]], EVALUATION)
    assert not (tmp_path / "contrasts.csv").exists()
