import json
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from PIL import Image
from snakemake.utils import update_config

from experiments import ROOT
from spatial_reduction.data.inspection import Inspection, Looked, Value
from spatial_reduction.report.data_check import (
    PASSES,
    estimate_work,
    format_duration,
    group_reasons,
    list_findings,
    longest_chain,
    suggest_classes,
    tell_data_check,
    write_data_check,
)
from spatial_reduction.runtime.errors import InputError

TEMPLATE = ROOT / "workflow/report/check.html.j2"
MEASURED = {
    "device": "cpu (x, 1 threads)",
    "cores": 2,
    "start": 2.0,
    "networks": [{"parameters": 10, "step": 0.5, "image": 0.1}, {"parameters": 20, "step": 1.0, "image": 0.2}],
}
ARM = {"batch_size": 4, "epochs": 3, "source": "random", "network": 0, "iterations": 1, "thresholds": 1}
DESIGN = {
    "seeds": 2,
    "jobs": {"train_model": 4, "train_single_pass": 4, "compute_saliency": 4, "evaluate_model": 6, "plot_cost": 2},
    "arms": [
        ARM | {"name": "single_pass", "is_first": True},
        ARM | {"name": "wide", "network": 1, "is_first": True},
        ARM | {"name": "saliency", "iterations": 3, "thresholds": 1, "is_first": False, "source": "oracle"},
    ],
}
COUNTS = {"train": 10, "validation": 2, "test": 4}


@pytest.fixture
def folder(tmp_path):
    for number in range(12):
        mask = np.zeros((16, 16), np.uint8)
        mask[4:12, 4:9] = 255
        for name, array in (
            ("images", np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)),
            ("masks", mask),
        ):
            (tmp_path / "raw" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "raw" / name / f"<{number:02}>.png")
    return tmp_path / "raw"


@pytest.fixture
def settings(config, folder):
    """The template for one's own pictures, with the root of `folder`."""
    merged = json.loads(json.dumps(config))
    update_config(merged, yaml.safe_load((ROOT / "config/my_pictures.yaml").read_text()))
    update_config(merged, {"dataset": {"root": str(folder), "image_size": 16}})
    return merged


class Page(HTMLParser):
    """Collects the sources of pictures, links and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.links, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.pictures.append(dict(attributes)["src"])
        self.links += [value for key, value in attributes if key in ("href", "src")]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def page(settings, tmp_path):
    def write(**changes):
        update_config(settings, changes)
        (tmp_path / "networks.json").write_text(json.dumps(MEASURED))
        write_data_check(
            tmp_path / "networks.json",
            settings,
            DESIGN,
            TEMPLATE,
            tmp_path / "check.html",
            tmp_path / "summary.json",
            2,
        )
        found = Page((tmp_path / "check.html").read_text())
        found.text = " ".join(" ".join(found.words).split())
        return found

    return write


def test_the_page_shows_every_picture_and_needs_nothing_else(page):
    found = page()
    assert len(found.pictures) == 12
    assert all(link.startswith("data:") for link in found.links)
    assert "Nothing was found that would stop a run" in found.text
    assert "train: <00>" in found.text or "validation: <00>" in found.text or "test: <00>" in found.text
    assert "255 15.62 12 object object" in found.text  # 40 of 256 pixels
    assert "My pictures" in found.text
    assert "Drawn" not in found.text


def test_a_swapped_mapping_and_values_without_class_are_said(page):
    classes = [{"name": "background", "labels": [255]}, {"name": "object", "labels": [0]}]
    assert (
        "0 looks like the background, but it is the class object: is it inverted?"
        in page(dataset={"classes": classes}).text
    )
    classes = [{"name": "background", "labels": [0]}, {"name": "object", "labels": [1]}]
    found = page(dataset={"classes": classes})
    assert "12 of 12 pairs cannot be used: the run would stop" in found.text
    assert "none of which can be used" in found.text
    assert "cannot be used: <00>" in found.text
    assert "how long it takes" not in found.text
    assert "label values [255] belong to no class" in found.text
    assert len(found.pictures) == 12


@pytest.fixture
def told(page, tmp_path, capsys):
    """Return what a check says in the terminal, line by line, and the line it ends with, "" if nothing is wrong."""

    def tell(**changes):
        page(**changes)
        capsys.readouterr()
        try:
            tell_data_check(tmp_path / "summary.json", tmp_path / "check.html")
            error = ""
        except InputError as refused:
            error = str(refused)
        return capsys.readouterr().err.replace(str(tmp_path), "HERE").splitlines(), error.replace(str(tmp_path), "HERE")

    return tell


def test_the_terminal_tells_the_pairs_and_the_time(told):
    lines, error = told()
    assert lines[0] == "HERE/check.html: 12 of 12 pairs can be used; open it in a browser"
    assert lines[-1].startswith("a run of 20 jobs takes about ")
    assert lines[-1].endswith(" on 2 cores of this machine, give or take half")
    assert error == ""


def test_the_terminal_tells_what_would_stop_a_run_and_the_check_fails(told):
    classes = [{"name": "background", "labels": [0]}, {"name": "object", "labels": [1]}]
    lines, error = told(dataset={"classes": classes})
    assert lines == [
        "HERE/check.html: 0 of 12 pairs can be used; open it in a browser",
        "correct this: 12 of 12 pairs cannot be used: the run would stop (dataset.on_error)",
        "correct this: label values [255] belong to no class (dataset.classes, ignored_labels)",
    ]
    assert error == "HERE/check.html: 2 findings to correct before a run"


def test_pairs_that_are_left_out_stop_no_run_unless_a_split_is_empty(told, folder):
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(folder / "masks/<00>.png")
    lines, error = told(dataset={"on_error": "skip"})
    assert "look at this: 1 of 12 pairs cannot be used: they would be left out (dataset.on_error)" in lines
    assert error == ""
    classes = [{"name": "background", "labels": [0]}, {"name": "object", "labels": [9]}]
    lines, error = told(dataset={"on_error": "skip", "classes": classes})
    assert error.endswith("to correct before a run")
    assert any(line.startswith("correct this: 11 of 12 pairs") and "no picture is left to " in line for line in lines)


def test_a_class_that_no_training_picture_has_stops_a_run_unless_its_share_may_be_0(told):
    classes = [{"name": "background", "labels": [0]}, {"name": "object", "labels": [255]}, {"name": "x", "labels": [3]}]
    lines, error = told(dataset={"classes": classes})
    assert "correct this: no train picture has the class x" in lines
    assert error.endswith("1 finding to correct before a run")
    classes[2]["share"] = [0, 100]
    assert told(dataset={"classes": classes})[1] == ""


def test_a_batch_larger_than_the_data_is_said(page):
    assert "training.batch_size: 50 is more than the 7 training images" in page(training={"batch_size": 50}).text


def test_classes_are_proposed_as_their_values_look(settings):
    values = {0: Value(80, 20, 5, 1), 7: Value(20, 0, 5, 1), 255: Value(5, 0, 5, 1)}
    proposed = yaml.safe_load(suggest_classes(Inspection([Looked("a", values=values)], "", [])))
    assert proposed["dataset"] == {
        "classes": [{"name": "background", "labels": [0]}, {"name": "object_7", "labels": [7]}],
        "ignored_labels": [255],
    }


def test_reasons_are_grouped_the_most_frequent_first():
    pairs = [
        Looked("a", error="x/a.png: cannot"),
        Looked("b", error="x/b.png: small"),
        Looked("c", error="y/c.png: small"),
    ]
    assert group_reasons(Inspection(pairs, "", [])) == [("small", ["b.png", "c.png"]), ("cannot", ["a.png"])]


def test_twins_in_several_splits_are_a_finding(settings):
    pairs = [Looked("a", "train", classes=np.array([5, 5, 0])), Looked("b", "test", classes=np.array([5, 5, 0]))]
    texts = [finding.text for finding in list_findings(Inspection(pairs, "", [["a", "b"]]), settings)]
    assert any("alike stand in several splits (1 group)" in text for text in texts)


def test_the_estimate_adds_up_the_jobs_by_hand(config):
    evaluation = config["evaluation"] | {
        "protocols": ["intact", "noise", "self_masked"],
        "splits": ["validation", "test"],
    }
    rows = {row.what: row for row in estimate_work(MEASURED, DESIGN, evaluation, COUNTS)}
    # 3 epochs of 3 steps and 2 validation images; single_pass and wide once a seed, saliency twice more a seed
    narrow, wide = 2 + 3 * (3 * 0.5 + 2 * 0.1), 2 + 3 * (3 * 1.0 + 2 * 0.2)
    assert rows["training"].jobs == 2 + 2 + 4
    assert rows["training"].total == pytest.approx(2 * narrow + 2 * wide + 4 * narrow)
    assert rows["training"].each == pytest.approx(wide)
    assert rows["saliency"].total == pytest.approx(4 * (2 + 10 * 0.1 * PASSES["oracle"]))
    views = 4 * (3 + 1)  # three severities of noise, one self-masked; and all iterations on 6 images
    assert rows["evaluation"].total == pytest.approx(
        2 * (2 + 0.1 * (views + 6)) + 2 * (2 + 0.2 * (views + 6)) + 2 * (2 + 0.1 * (views + 18))
    )
    assert rows["all other jobs"].total == 2 * 2.0
    assert longest_chain(MEASURED, DESIGN, COUNTS) == pytest.approx(3 * (4 + narrow - 2))


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (720, "12 min"), (12600, "3.5 h"), (72000, "20 h"), (345600, "4 days")]
)
def test_a_duration_is_said_in_the_unit_of_its_size(seconds, text):
    assert format_duration(seconds) == text
