"""The examples of docs/extending.md, run as they stand there."""

import re

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file

from experiments import ROOT, tiny, two_arms

BLOCKS = re.findall(r"^```(python|yaml)\n(.*?)^```", (ROOT / "docs/extending.md").read_text(), re.MULTILINE | re.DOTALL)
CODE = {"my_network.py": BLOCKS[0][1], "my_source.py": BLOCKS[3][1]}
OWN, PACKAGED, SOURCE = (yaml.safe_load(BLOCKS[place][1]) for place in (1, 2, 4))


@pytest.fixture
def files(tmp_path):
    for name, text in CODE.items():
        (tmp_path / name).write_text(text)
    return tmp_path


CHAIN = "results/demo/{arm}/top_50/seed_1"


@pytest.mark.pipeline
def test_a_network_and_a_source_of_ones_own_go_through_a_whole_chain(snakemake, files):
    experiment = tiny(
        **OWN,
        arms={"equal_compute": None, "saliency": None, **SOURCE["arms"]},
        evaluation={"comparators": ["single_pass"], "protocols": ["intact", "self_masked"]},
        report={"method": "margin", **SOURCE["report"]},
    )
    chain = CHAIN.format(arm="margin")
    wanted = [f"{chain}/metrics.csv", f"{chain}/examples.h5", "results/demo/sources.csv", "export"]
    done = snakemake(*wanted, overrides=experiment)
    assert done.returncode == 0, done.stderr
    trained = load_file(files / f"{chain}/iteration_2/model.safetensors")
    assert trained["network.wide.0.weight"].shape == (12, 12, 3, 3)
    assert set(pd.read_csv(files / "results/demo/sources.csv")["source"]) == {"probability", "my_source.py"}
    assert planned(snakemake, wanted, experiment) == set()
    change(files / "my_source.py", "highest[:, 0] - highest[:, 1]", "highest[:, 1] - highest[:, 0]")
    with_other_source = planned(snakemake, wanted, experiment)
    assert {"compute_saliency", "train_model", "evaluate_model", "render_sources"} <= with_other_source
    assert "train_single_pass" not in with_other_source
    change(files / "my_network.py", "features + self.wide", "features - self.wide")
    assert {"train_single_pass", "export_model"} <= planned(snakemake, wanted, experiment)


def change(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def planned(snakemake, wanted, experiment):
    """Return the names of the rules that would run."""
    done = snakemake(*wanted, "--dry-run", overrides=experiment)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^(\w+) +\d+$", done.stdout, re.MULTILINE)) - {"total", "export"}


@pytest.mark.slow
@pytest.mark.pipeline
def test_a_network_of_an_installed_package_goes_through_a_whole_chain(snakemake, tmp_path):
    chain = CHAIN.format(arm="saliency")
    done = snakemake(f"{chain}/metrics.csv", overrides=two_arms(**PACKAGED, reduction={"source": "grad_cam"}))
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(tmp_path / f"{chain}/metrics.csv")["protocol"]) > {"intact", "self_masked"}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"path": "absent.py"}, "arms.single_pass.model.path: absent.py: no such file"),
        (
            {"path": None},
            "arms.single_pass.model.class: MyNet: name a class, and its file in model.path",
        ),
        ({"class": None}, "arms.single_pass.model.class: None: name a class"),
        ({"stride": None}, "arms.single_pass.model.stride: say by what the sides of its images must be divisible"),
        ({"stride": 7}, "dataset.image_size: 32 is not divisible by 7, as model.stride says"),
    ],
    ids=str,
)
def test_what_a_network_of_ones_own_lacks_is_asked_for(refusal, files, monkeypatch, model, reason):
    monkeypatch.chdir(files)
    assert refusal({"model": OWN["model"] | model}).startswith(reason)


def test_the_layer_of_grad_cam_is_asked_for_before_anything_runs(refusal, checked, files, monkeypatch):
    monkeypatch.chdir(files)
    nameless = {"model": OWN["model"] | {"bottleneck": None}}
    checked(nameless)
    line = refusal(nameless | {"arms": {"cam": {"source": "grad_cam"}}})
    assert line.startswith("arms.cam.model.bottleneck: name the layer whose features grad_cam weighs")


def test_a_source_whose_file_is_not_there_is_refused(refusal):
    assert refusal({"arms": {"own": {"source": "absent.py"}}}) == "arms.own.source: absent.py: no such file"
    assert refusal({"report": {"sources": ["absent.py"]}}) == "report.sources: absent.py: no such file"
