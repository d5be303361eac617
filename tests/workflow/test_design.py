"""What a configuration becomes: which arms share a training, which seeds there are, what a report is about."""

import json

import pytest

from experiments import nested

FOLDER = {"source": "folder", "root": "raw", "image_size": 32, "split": {"method": "random"}}
LISTS = {"train": "train.txt", "validation": "validation.txt", "test": "test.txt"}
ENCODER = {"name": "encoder_unet", "widths": [2, 4], "weights": None}
WINDOWS = {"name": "sliding_window", "widths": [4, 8, 16], "window": 13}
OWN = {"name": "file", "path": "a{b}.py", "class": "Net", "stride": 1}
NO_PATH = "a path must hold no <, >, brace or line break"
TWICE = [{"name": "pet", "labels": [1, 2]}, {"name": "border", "labels": [3]}, {"name": "border", "labels": [4]}]


def test_arms_share_iteration_1_only_if_they_train_it_alike(checked):
    own = {"wider": {"model": {"widths": [4, 8, 16]}}, "longer": {"training": {"epochs": 3}}, "low": {"rank": "lowest"}}
    first = checked({"arms": own})["FIRST"]
    assert {name: first[name] for name in own} == {"wider": "wider", "longer": "longer", "low": "single_pass"}


def test_looks_ask_for_as_many_seeds_as_the_last_one(checked):
    found = checked({"seeds": {"looks": [3, 5, 8]}})
    assert found["SEEDS"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {chain.seed for chain in found["CHAINS"]} == set("12345678")


def test_what_a_report_is_about_names_neither_a_cluster_nor_where_pictures_lie(checked):
    folder = {"source": "folder", "root": "raw", "image_size": 24, "split": {"method": "random"}}
    about = checked({"dataset": folder})["EXPERIMENT"]
    assert "root" not in about["dataset"]
    assert about["dataset"]["image_size"] == 24
    assert not {"prediction", "cluster", "keep_code", "pathvars"} & set(about)
    assert {"seeds", "model", "training", "reduction", "arms", "evaluation", "report"} <= set(about)


def test_a_single_pass_lends_iteration_1_also_to_arms_that_stand_before_it(checked):
    arms = {"single_pass": None, "restarts": None, "one": {"iterations": 1}}
    assert checked({"arms": arms, "evaluation": {"comparators": ["one"]}})["FIRST"] == {"saliency": "one", "one": "one"}


def test_every_arm_has_its_role(checked):
    arms = {"again": {"rank": "lowest"}, "centre": {"source": "centre"}, "blocks": {"source": "random_blocks"}}
    arms |= {"random": {"source": "random"}, "exchanged": {"shuffle": True}, "true": {"source": "oracle"}}
    arms |= {"shown": {"fill": "mask"}, "blurred": {"fill": "blur"}}
    assert checked({"arms": arms})["ROLES"] == {
        "single_pass": "baseline",
        "restarts": "baseline",
        "saliency": "method",
        **dict.fromkeys([*arms][:-1], "control"),
        "blurred": "variant",
    }


@pytest.mark.parametrize(("iterations", "step"), [(3, -49), (2, -50), (2, -60)])
def test_a_kept_share_may_fall_to_anything_above_nothing(checked, iterations, step):
    falling = {"thresholds": [50], "iterations": iterations, "schedule": "additive", "step": step}
    assert checked({"arms": {"saliency": falling}})["ARMS"]["saliency"]["reduction"]["step"] == step


def test_a_schedule_has_the_keys_of_its_kind_only(checked):
    kinds = {"plateau": {"kind", "monitor", "factor", "patience"}, "cosine": {"kind", "warm_up"}}
    for kind, keys in kinds.items():
        arm = checked({"training": {"schedule": {"kind": kind}}})["ARMS"]["saliency"]
        assert set(arm["training"]["schedule"]) == keys


def test_the_order_of_keys_changes_no_setting(checked):
    weights = {"border": 3, "pet": 2}
    arms = {"one": weights, "other": dict(reversed(weights.items()))}
    arms = checked({"arms": {name: {"training": {"class_weights": each}} for name, each in arms.items()}})["ARMS"]
    assert json.dumps(arms["one"]["training"]) == json.dumps(arms["other"]["training"])


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("seeds", {"looks": [8, 5]}, "seeds.looks: [8, 5] do not rise"),
        ("dataset.intensity_range", [5, 5], "dataset.intensity_range: [5, 5] is not [low, high]"),
        ("dataset.classes", TWICE, "dataset.classes: a name stands twice in ['pet', 'border', 'border']"),
        ("reduction.thresholds", [33.33333333333], "reduction.thresholds: 33.33333333333 has more than 10 digits"),
        ("report.class_group", "nobody", "report.class_group: unknown ['nobody']"),
        ("evaluation.class_groups.pets", ["cat"], "evaluation.class_groups.pets: unknown ['cat']"),
        ("evaluation.foreground", ["cat"], "evaluation.foreground: unknown ['cat']"),
        ("evaluation.foreground", ["background", "pet", "border"], "evaluation.foreground: no class is left"),
        ("dataset", FOLDER | {"root": "a<b"}, f"dataset.root: 'a<b': {NO_PATH}"),
        (
            "dataset",
            FOLDER | {"split": {"method": "lists", "lists": LISTS | {"test": "a>b"}}},
            f"dataset.split.lists.test: 'a>b': {NO_PATH}",
        ),
        ("prediction.images", "new{1}", f"prediction.images: 'new{{1}}': {NO_PATH}"),
        ("prediction.iteration", 4, "prediction.iteration: 4, but arm restarts ends with iteration 2"),
        ("arms.saliency.thresholds", [33.33333333333], "arms.saliency.thresholds: 33.33333333333 has more than 10"),
        ("arms.saliency.source", "a{b}.py", f"arms.saliency.source: 'a{{b}}.py': {NO_PATH}"),
        (
            "arms.saliency",
            {"thresholds": [50], "iterations": 3, "schedule": "additive", "step": -50},
            "arms.saliency.step: the kept share falls to 0 %",
        ),
        ("training.class_weights", {"cat": 2}, "arms.single_pass.training.class_weights: unknown ['cat']"),
        (
            "arms.saliency",
            {"model": WINDOWS, "training": {"class_weights": "balanced"}},
            "arms.saliency.training.class_weights: a sliding_window trains on single pixels",
        ),
        (
            "arms.saliency",
            {"model": WINDOWS, "training": {"border_weight": {"weight": 0, "sigma": 5}}},
            "arms.saliency.training.border_weight: a sliding_window trains on single pixels",
        ),
        ("arms.saliency.model", OWN, f"arms.saliency.model.path: 'a{{b}}.py': {NO_PATH}"),
        ("arms.saliency.model", ENCODER | {"weights": "a{b}"}, f"arms.saliency.model.weights: 'a{{b}}': {NO_PATH}"),
        ("arms.saliency.model", ENCODER | {"weights": "no.pth"}, "arms.saliency.model.weights: no.pth: no such file"),
        (
            "arms.saliency.model",
            ENCODER | {"widths": [2] * 5},
            "arms.saliency.model.widths: 5 widths make one feature of 32 pixels, and images of 32 may have no other",
        ),
        (
            "arms.saliency",
            {"model": ENCODER | {"widths": [2] * 3}, "crop": True},
            "arms.saliency.model.widths: 3 widths make one feature of 8 pixels, and crops of 8 may have no other",
        ),
    ],
    ids=str,
)
def test_a_refusal_names_what_is_wrong(refusal, key, value, line):
    assert refusal(nested(key, value)).startswith(line)


@pytest.mark.parametrize("key", ["comparators", "controls"])
def test_who_is_compared_keeps_all_pixels_or_as_many_as_the_method(checked, refusal, key):
    arms = {"shuffled": {"shuffle": True, "thresholds": [90]}, "other": {"source": "random", "thresholds": [80]}}
    right = ["restarts", "shuffled"]
    assert checked({"arms": arms, "evaluation": {key: right}})["EVALUATION"][key] == right
    line = refusal({"arms": arms, "evaluation": {key: [*right, "other"]}})
    assert line == f"evaluation.{key}: other keeps 80 %, saliency 90, 50 %; give them a threshold in common"


def test_a_group_of_classes_that_is_left_out_cannot_be_reported(refusal):
    changes = {"evaluation": {"class_groups": {"pet_and_background": None}}}
    line = refusal(changes | {"report": {"class_group": "pet_and_background"}})
    assert line.startswith("report.class_group: unknown ['pet_and_background']; there are ['all']")


@pytest.mark.parametrize(
    "arm",
    [
        {"model": ENCODER | {"widths": [2] * 4}},
        {"model": ENCODER | {"widths": [2] * 5, "freeze_normalisation": True}},
        {"model": ENCODER, "crop": True},
    ],
    ids=str,
)
def test_an_encoder_that_sees_more_than_one_deepest_feature_is_accepted(checked, arm):
    assert "own" in checked({"arms": {"own": arm}})["ARMS"]
