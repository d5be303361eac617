"""What jobs ask for: estimates and sums, by hand."""

import csv
import re
from copy import deepcopy
from functools import partial
from math import ceil
from types import SimpleNamespace

import pytest
import yaml

from experiments import ROOT, run_snakemake, tiny


class Wildcards(SimpleNamespace):
    def keys(self):
        return vars(self).keys()


@pytest.fixture
def defined(checked):
    """Run minutes.smk on the embedded configuration with overrides laid over it; return what it defines."""

    def run(overrides, groups=(), gpus=1):
        names = checked(overrides)
        workflow = SimpleNamespace(group_settings=SimpleNamespace(overwrite_groups=dict.fromkeys(groups, "g")))
        names |= {"GPUS": gpus, "workflow": workflow}
        path = ROOT / "workflow/rules/minutes.smk"
        exec(compile(path.read_text(), path, "exec"), names)
        return names

    return run


CHAIN = ("compute_saliency", "shrink_mask", "train_model")
TEN_TRAININGS = {"reduction": {"iterations": 11}}


def asked(names, rule, attempt=1, **wildcards):
    return names["minutes"](rule)(Wildcards(arm="saliency", **wildcards), attempt)


def test_operations_of_a_network_of_two_levels(defined):
    names = defined({"dataset": {"image_size": 8}})
    # 8 x 8: 3->2, 2->2; 4 x 4: 2->4, 4->4; up 4->2; 8 x 8: 4->2, 2->2. Nine products a pixel and pair of channels.
    products = 9 * 64 * (6 + 4) + 9 * 16 * (8 + 16) + 64 * 8 + 9 * 64 * (8 + 4)
    assert names["flops_of_image"]({"widths": [2, 4]}) == 2 * products


def test_the_minutes_of_a_chain_are_those_of_its_iterations_rounded_once(defined):
    names = defined(TEN_TRAININGS, groups=CHAIN)
    whole = sum(asked(names, "train_model", iteration=str(i)) for i in range(2, 12))
    one = sum(names["seconds_of"](rule, "saliency") for rule in CHAIN)
    assert whole == ceil(names["MARGIN"] * 10 * one / 60)
    assert asked(names, "compute_saliency", iteration="2") == asked(names, "shrink_mask", iteration="2") == 0
    assert sum(asked(names, "train_model", 3, iteration=str(i)) for i in range(2, 12)) == 3 * whole


def test_jobs_that_wait_each_for_itself_ask_for_a_time_each(defined):
    names = defined({})
    assert all(asked(names, rule, iteration="2") >= 2 for rule in CHAIN)


def test_more_epochs_images_and_a_larger_network_ask_for_more(defined):
    seconds = partial(lambda changes: defined(changes, gpus=0)["seconds_of"]("train_model", "saliency"))
    least = seconds({})
    assert seconds({"training": {"epochs": 60}}) > least
    assert seconds({"dataset": {"synthetic": {"images": 1600}}}) > least
    assert seconds({"model": {"widths": [16, 32, 64]}}) > least


def test_an_earlier_run_says_what_to_ask_for(defined, tmp_path):
    path = tmp_path / "costs.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["rule", "seconds_max", "suggested_mem_mb"])
        writer.writeheader()
        writer.writerow({"rule": "evaluate_model", "seconds_max": 300, "suggested_mem_mb": 1500.0})
        writer.writerow({"rule": "train_model", "seconds_max": 600, "suggested_mem_mb": ""})
    names = defined({"cluster": {"measured": str(path)}})
    assert asked(names, "evaluate_model") == ceil(1.6 * 300 / 60) + 1
    memory = Wildcards(arm="saliency")
    assert names["megabytes"]("evaluate_model", 4000)(memory, 2) == 3000
    assert names["megabytes"]("train_model", 8000)(memory, 1) == 8000


@pytest.mark.parametrize("content", [None, "a,b\n1,2\n"])
def test_a_file_that_is_no_costs_csv_is_refused_by_name(defined, tmp_path, content):
    path = tmp_path / "costs.csv"
    if content:
        path.write_text(content)
    names = defined({"cluster": {"measured": str(path)}})
    with pytest.raises(SystemExit, match=r"config: .*cluster\.measured: .*costs\.csv"):
        names["measured"]()


def test_the_comparison_asks_for_more_where_there_are_more_trainings_or_an_earlier_run_took_more(defined, tmp_path):
    ask = defined({})["minutes_to_compare"]
    trainings = 5 * (1 + 2 + 2 * 2)  # seeds x (single pass, restarts, saliency at two thresholds)
    assert ask(None, 1) == ceil(1.6 * (10 + 0.5 * trainings) / 60) + 1
    assert ask(None, 3) == 3 * ask(None, 1)
    assert defined({"seeds": list(range(200))})["minutes_to_compare"](None, 1) > 10
    (tmp_path / "costs.csv").write_text("rule,seconds_max,suggested_mem_mb\ncompare_arms,600,\n")
    assert defined({"cluster": {"measured": str(tmp_path / "costs.csv")}})["minutes_to_compare"](None, 1) == 16 + 1


def test_tables_and_figures_ask_for_half_an_hour_together_and_for_a_time_each_where_they_travel_alone(tmp_path):
    """A tail that is tried four times, each time with more, fits a partition of two hours."""
    profile, many = str(ROOT / "profiles/slurm"), tiny(reduction={"thresholds": [90, 80, 70, 60, 50, 40, 30]})
    done = run_snakemake(tmp_path, "--dry-run", "--workflow-profile", profile, overrides=many)
    assert done.returncode == 0, done.stderr
    jobs = [
        re.match(r"(\w+):.*?\bruntime=(\d+)", text, re.DOTALL)
        for text in re.split(r"^ *rule ", done.stdout, flags=re.M)
    ]
    asked_for = [(job[1], int(job[2])) for job in jobs if job]
    groups = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())["groups"]
    tail = {name for name, _, group in (line.partition("=") for line in groups) if group == "tail"}
    minutes = [minutes for name, minutes in asked_for if name in tail]
    assert {name for name, _ in asked_for} >= tail - {"plot_sources"}
    assert len(minutes) == 10 + 7 + 4  # figures, examples of each threshold, tables
    assert len(minutes) <= sum(minutes) <= 30
    assert dict(asked_for)["plot_labels"] == 3


def test_the_reference_grid_asks_for_at_most_twice_what_it_uses(defined, config):
    grid = deepcopy(config)
    names = defined(
        {
            "seeds": list(range(1, 11)),
            "dataset": {
                "source": "oxford_pet",
                "image_size": 128,
                "split": {"method": "official", "validation_share": 10},
            },
            "model": {"widths": [32, 64, 128]},
            "training": {"epochs": 60, "batch_size": 8},
            "reduction": {"thresholds": [95, 90, 80, 70, 50], "iterations": 7},
        },
        groups=CHAIN,
    )
    assert grid["arms"].keys() >= {"saliency"}
    requested = sum(asked(names, "train_model", iteration=str(i)) for i in range(2, 8)) + asked(names, "evaluate_model")
    used = 6 * sum(names["seconds_of"](rule, "saliency") for rule in CHAIN) + names["seconds_of"](
        "evaluate_model", "saliency"
    )
    assert 1 < 60 * requested / used <= 2
