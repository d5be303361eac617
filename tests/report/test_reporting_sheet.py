import re
from copy import deepcopy

import h5py
import pytest

from experiments import ROOT
from spatial_reduction.report.reporting_sheet import (
    as_written,
    divide_settings,
    flatten,
    job_cost,
    list_guards,
    training_cost,
    training_steps,
    write_sheet,
)
from spatial_reduction.runtime.files import create_hdf5

ARM = {"model": {"name": "unet", "widths": [8]}, "training": {"epochs": 2}, "reduction": {"allow_growth": False}}
STEPS = {"restarts": 20, "single_pass": 10}


def curve(arm, seed, steps, seconds):
    counted = {
        "cumulative_steps": str(steps),
        "cumulative_seconds": str(seconds),
        "device": "cpu (test)",
        "precision": "float32",
    }
    return {"arm": arm, "threshold": "90", "seed": str(seed), **counted}


CURVES = [curve("a", 1, 10, 1.5), curve("a", 1, 20, 3.5), curve("a", 2, 20, 4.0), curve("b", 1, 20.0, 1.0)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (False, "false"),
        (1, "1"),
        (0.5, "0.5"),
        ("adam", "adam"),
        (["90", "70"], "[90, 70]"),
        ([], "[]"),
    ],
)
def test_a_setting_stands_there_as_a_configuration_says_it(value, text):
    assert as_written(value) == text


def test_common_and_own_settings_are_all_settings_of_every_arm():
    arms = {
        "a": flatten({"training": {"epochs": 2, "schedule": {"factor": 0.5}}}),
        "b": flatten({"training": {"epochs": 3, "schedule": {"factor": 0.5}}}),
    }
    common, own = divide_settings(arms)
    assert common == {"training.schedule.factor": 0.5}
    assert own == {"a": {"training.epochs": 2}, "b": {"training.epochs": 3}}
    assert {name: common | settings for name, settings in own.items()} == arms


def test_cost_is_that_of_whole_chains():
    assert training_cost(CURVES) == {"a": (2, 7.5), "b": (1, 1.0)}
    assert training_steps(CURVES) == {"a": 20, "b": 20}


def test_jobs_are_added_up_by_rule(tmp_path):
    files = {"train_model/a/1.tsv": ("2.5", "300.0"), "train_model/b.tsv": ("1.5", "400.0"), "draw.tsv": ("1.0", "-")}
    for name, (seconds, memory) in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:02\t{memory}\n")
    cost = job_cost(tmp_path)
    assert cost["train_model"] == (2, 4.0, 400.0)
    assert cost["draw"][:2] == (1, 1.0)
    assert cost["draw"][2] != cost["draw"][2]  # not measured
    assert job_cost(tmp_path / "absent") == {}


def test_a_guard_says_whether_it_is_active(config):
    plain = "\n".join(list_guards(config, {"a": ARM}, STEPS))
    assert "background 40-90 %" in plain
    assert "Growing kept shares: refused." in plain
    assert "restarts (20): all arms but single_pass (10)." in plain
    loose = deepcopy(config)
    loose["dataset"]["on_error"], loose["report"]["least_baseline_iou"] = "skip", 0.68
    for entry in loose["dataset"]["classes"]:
        del entry["share"]
    text = "\n".join(list_guards(loose, {"a": {**ARM, "reduction": {"allow_growth": True}}}, {"restarts": 20}))
    for sentence in ("not bounded", "left out and listed", "allowed for a", "all arms.", "restarts: 0.68"):
        assert sentence in text


@pytest.fixture
def sheet(config, dataset_path, tmp_path):
    header = list(CURVES[0])
    lines = [",".join(row[key] for key in header) for row in CURVES]
    (tmp_path / "history.csv").write_text("\n".join([",".join(header), *lines]) + "\n")
    with create_hdf5(tmp_path / "counts.h5", "counts") as file:
        file.attrs["device"], file.attrs["software"] = "a GPU", ["torch 9.9"]
    template, changed = ROOT / "workflow/report/sheet.md.j2", deepcopy(config)
    changed["evaluation"]["comparators"] = ["a"]
    changed["report"]["title"] = "Cats & dogs"
    arguments = {"dataset": dataset_path, "history": tmp_path / "history.csv", "counts": [tmp_path / "counts.h5"]}
    arguments |= {"template": template, "benchmarks": tmp_path / "none", "config": changed}
    write_sheet(**arguments, arms={"a": ARM, "b": ARM}, output=tmp_path / "sheet.md")
    return (tmp_path / "sheet.md").read_text()


def test_the_sheet_says_what_the_files_say(sheet, dataset_path):
    with h5py.File(dataset_path) as file:
        digests = [file.attrs["source_digest"], file.attrs["digest"]]
    assert all(f"`{digest}`" in sheet for digest in digests)
    for fact in (
        "10 train, 2 validation, 12 test",
        "| left out | 0 |",
        "a GPU; cpu (test)",
        "| determinism | not asked for (training.deterministic): on a GPU another run may differ",
        "ran on a GPU |",
        "torch 9.9",
        "Seeds 1, 2:",
    ):
        assert fact in sheet
    assert "compared with a, the first being primary" in sheet
    assert sheet.startswith("# Reporting sheet: Cats & dogs\n")


def test_what_no_file_holds_is_left_to_the_author(sheet):
    machine, author = sheet.split("## To be filled in by the author\n")
    assert not re.search(r"consent|ethic|clinical", machine)
    assert all(word in author for word in ("consent", "ethics", "clinical relevance", "licence"))


def test_the_sheet_is_one_page_of_markdown(sheet):
    assert len(sheet.splitlines()) <= 75
    assert re.findall(r"^## (.+)$", sheet, re.MULTILINE) == [
        "Data",
        "Model and training",
        "Evaluation",
        "Checks",
        "Computing",
        "To be filled in by the author",
    ]
    assert "{{" not in sheet
