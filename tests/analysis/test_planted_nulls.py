"""Where nothing is to be found nothing is claimed, no difference and no equivalence, however degenerate the runs."""

import numpy as np
import pandas as pd
import pytest

from learning_curves import write_all_counts
from spatial_reduction.analysis.contrasts import compare_arms
from spatial_reduction.analysis.tables import read_contrasts
from spatial_reduction.metrics.overlap import iou, labelled_classes, mean_over_classes
from spatial_reduction.runtime.files import create_hdf5

CLASSES = ["background", "pet"]
PROTOCOLS = ["intact", "noise_1", "background_swapped"]
EVALUATION = {
    "comparators": ["restarts", "single_pass"],
    "controls": ["shuffled"],
    "measures": ["mean_iou", "binary_iou", "corruption_drop", "background_swapped_drop"],
    "class_groups": {},
    "foreground": ["pet"],
    "margins": {"default": 0.5},
    "resamples": 300,
}
REPORT = {"method": "saliency", "measure": "mean_iou", "class_group": "all"}
SETTINGS = [("single_pass", "100"), ("restarts", "100"), ("saliency", "90"), ("saliency", "70")]
SETTINGS += [("shuffled", "90"), ("shuffled", "70")]
IMAGES, PIXELS = 30, 400
SEEDS = [1, 2, 3, 4, 5]
NO_CLAIM = {"undecided", "not_learnt", "not_comparable", "undefined"}


def images_with(pets):
    """Pixels of each class in each image, (N, 2)."""
    return np.stack([PIXELS - pets, pets], axis=1)


PETS = images_with(np.random.default_rng(0).integers(20, 120, IMAGES))


def background_everywhere(true, rng, protocol):
    return np.stack([true, np.zeros_like(true)], axis=2)  # rows true, columns predicted


def one_right_pixel(true, rng, protocol):
    counts = background_everywhere(true, rng, protocol)
    counts[0, 1] = [true[0, 1] - 1, 1]
    return counts


def everything_wrong(true, rng, protocol):
    return np.stack([np.stack([0 * n, n][:: 1 - 2 * c]) for c, n in enumerate(true.T)], axis=0).transpose(2, 0, 1)


def good(true, rng, protocol):
    share = rng.uniform(0.55, 0.95, true.shape) - (0.15 if protocol != "intact" else 0)
    right = (share * true).astype(int)
    return np.stack(
        [np.stack([right[:, 0], true[:, 0] - right[:, 0]], 1), np.stack([true[:, 1] - right[:, 1], right[:, 1]], 1)], 1
    )


def curve_of_its_own(setting, seed):
    return 0.4 + 0.05 * np.random.default_rng([SETTINGS.index(setting), seed]).random(6)


def curve_of_all(setting, seed):
    return np.full(6, 0.25)


def compared(folder, predict, true=PETS, curve=curve_of_its_own, is_shared=False):
    """Return `contrasts.csv` of networks that predict so.

    With `is_shared` all arms of a seed predict the same; otherwise arms and seeds are drawn apart.
    """
    paths, chains, rows, kept = [], [], [], []
    for setting in SETTINGS:
        for seed in SEEDS:
            chains.append([*setting, str(seed)])
            paths.append(folder / f"{'_'.join(chains[-1])}.h5")
            rng = np.random.default_rng([0 if is_shared else SETTINGS.index(setting), seed])
            with create_hdf5(paths[-1], "counts") as file:
                file.attrs["classes"] = CLASSES
                for protocol in PROTOCOLS:
                    file[f"{protocol}/test/confusion"] = predict(true, rng, protocol)[None]
            places = [(1 + epoch // 3, 10 * (epoch + 1)) for epoch in range(6)]
            scores = curve(setting, seed)
            rows += [(*chains[-1], i, step, 4 * step, step / 2, s) for (i, step), s in zip(places, scores, strict=True)]
            kept.append((*chains[-1], 2, "kept_share", "all", float(setting[1])))
    columns = ["arm", "threshold", "seed", "iteration"]
    history = [*columns, "cumulative_steps", "cumulative_images", "cumulative_seconds", "validation_mean_iou"]
    curves = pd.DataFrame(rows, columns=history)
    curves.to_csv(folder / "history.csv", index=False)
    pd.DataFrame(kept, columns=[*columns, "measure", "class", "value"]).to_csv(folder / "kept_pixels.csv", index=False)
    constant = background_everywhere(true, None, "intact").sum(axis=0)
    best = float(mean_over_classes(iou(constant), labelled_classes(constant)))
    reference = {
        "predictor": "constant_background",
        "split": "test",
        "measure": "mean_iou",
        "class": "all",
        "value": best,
    }
    pd.DataFrame([reference]).to_csv(folder / "references.csv", index=False)
    tables = {name: folder / f"{name}.csv" for name in ("history", "kept_pixels", "references")}
    outputs = {name: folder / f"{name}.csv" for name in ("contrasts", "interactions", "racu")}
    compare_arms(paths, chains, write_all_counts(folder, curves), tables, EVALUATION, REPORT, outputs)
    return read_contrasts(outputs["contrasts"])


def decisions(table):
    return set(table[table["family"] != "exploratory"]["decision"])


@pytest.mark.parametrize("predict", [background_everywhere, one_right_pixel, everything_wrong])
@pytest.mark.parametrize("curve", [curve_of_its_own, curve_of_all])
def test_collapsed_networks_have_not_learnt(tmp_path, predict, curve):
    table = compared(tmp_path, predict, curve=curve)
    assert set(table["decision"]) == {"not_learnt"}  # of exploratory contrasts, too


def test_a_test_set_of_one_class_teaches_nothing(tmp_path):
    table = compared(tmp_path, good, true=images_with(np.zeros(IMAGES, dtype=int)))
    assert set(table["decision"]) == {"not_learnt"}


def test_networks_that_are_one_and_the_same_are_not_comparable(tmp_path):
    table = compared(tmp_path, good, curve=curve_of_all, is_shared=True)
    assert set(table["decision"]) == {"not_comparable"}
    assert (table["difference"].fillna(0) == 0).all()


def test_a_collapsed_method_is_not_said_to_be_robust(tmp_path):
    """Background everywhere loses nothing when images change: the smallest loss of all."""

    def predict(true, rng, protocol):
        is_method = predict.calls // len(PROTOCOLS) // len(SEEDS) in (2, 3)
        predict.calls += 1
        return (background_everywhere if is_method else good)(true, rng, protocol)

    predict.calls = 0
    table = compared(tmp_path, predict)
    drops = table[(table["arm"] == "saliency") & table["measure"].isin(["corruption_drop", "background_swapped_drop"])]
    assert (drops[drops["comparator"] == "restarts"]["difference"] < 0).all()
    assert set(drops["decision"]) == {"not_learnt"}
    others = table[(table["arm"] == "restarts") & (table["protocol"] != "validation")]
    assert set(others["decision"]) == {""}


def test_networks_that_differ_by_chance_claim_nothing_here(tmp_path):
    assert decisions(compared(tmp_path, good)) <= NO_CLAIM
