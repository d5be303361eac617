"""What a configuration becomes: which arms share a training, which seeds there are, what a report is about."""

import pytest

from experiments import nested

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
    assert not {"prediction", "cluster", "keep_code"} & set(about)


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
    ],
    ids=str,
)
def test_a_refusal_names_what_is_wrong(refusal, key, value, line):
    assert refusal(nested(key, value)).startswith(line)
