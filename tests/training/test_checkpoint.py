import copy
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments import ROOT, TRAINING, await_that, equal, training_arguments
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.masks.mask_file import write_mask
from spatial_reduction.masks.shrink import write_intact_mask
from spatial_reduction.networks.model_file import build_model, load_model, save_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.training import checkpoint
from spatial_reduction.training import train as training
from spatial_reduction.training.checkpoint import Pace, checkpoint_path, fingerprint, remove_checkpoints
from spatial_reduction.training.train import train_model

KILLED = """
import json, sys
from experiments import training_arguments
from spatial_reduction.runtime.log import logged
from spatial_reduction.training.train import train_model
dataset, folder, training = json.loads(sys.argv[1])
with logged(folder + "/killed.log"):
    train_model(**training_arguments(dataset, folder, "killed", training))
"""


@pytest.mark.parametrize(("keep", "number"), [("last", signal.SIGKILL), ("best", signal.SIGTERM)])
def test_a_stopped_training_resumes_and_ends_with_the_same_bits(train, dataset_path, tmp_path, keep, number, capfd):
    training = TRAINING | {"epochs": 60, "learning_rate": 0.001, "keep": keep}
    undisturbed, _ = train("undisturbed", training=training)
    arguments = json.dumps([str(dataset_path), str(tmp_path), training])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, arguments], env={"PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT / 'tests'}"}
    )
    await_that((tmp_path / "killed.checkpoint").exists, process)
    process.send_signal(number)
    assert process.wait(timeout=60) == {signal.SIGKILL: -9, signal.SIGTERM: 128 + 15}[number]
    assert not (tmp_path / "killed.safetensors").exists()
    so_far = pd.read_csv(tmp_path / "killed_so_far.csv")["epoch"].tolist()
    assert so_far == list(range(1, len(so_far) + 1)) != []
    if number == signal.SIGTERM:
        assert not list(tmp_path.glob(".killed*"))  # half-written files
        assert (tmp_path / "killed.log").read_text().startswith("stopped by SIGTERM")
    capfd.readouterr()
    train("killed", training=training)
    resumed = capfd.readouterr().err
    assert "resuming after epoch" in resumed
    assert equal(load_model(tmp_path / "killed.safetensors").state_dict(), undisturbed)
    assert pd.read_csv(tmp_path / "killed.csv")["epoch"].tolist() == list(range(1, 61))
    assert not (tmp_path / "killed_so_far.csv").exists()


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_training_that_ended_is_not_computed_again_when_its_outputs_are_deleted(train, tmp_path, keep, capfd):
    outputs = [tmp_path / "ended.safetensors", tmp_path / "ended.csv"]
    settings = {"keep": keep, "epochs": 8, "learning_rate": 0.3}
    _, history = train("ended", training=settings)
    assert history["validation_loss"].idxmin() < 7  # the best is not the last
    written = [path.read_bytes() for path in outputs]
    for path in outputs:
        path.unlink()
    train("ended", training=settings)
    assert "resuming after epoch 8" in capfd.readouterr().err
    assert [path.read_bytes() for path in outputs] == written  # the seconds, too


def test_checkpoints_take_a_twentieth_of_the_time_at_most(monkeypatch):
    clock = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: clock)
    pace, written = Pace(), []
    for second in range(1, 101):  # an epoch takes a second, writing a checkpoint two
        clock += 1
        if pace.is_due():
            with pace.timed():
                clock += 2
            written.append(second)
    assert written == [1, 41, 81]


def test_a_long_training_does_not_write_every_epoch_and_ends_with_a_checkpoint(train, monkeypatch):
    saved = []
    monkeypatch.setattr(training, "save_checkpoint", lambda *arguments: saved.append(arguments[2].epoch))
    monkeypatch.setattr(checkpoint, "SHARE_OF_TIME", 1e-9)
    train(training={"epochs": 6})
    assert saved == [1, 6]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_or_foreign_checkpoint_is_not_used(train, tmp_path, content, capfd):
    expected, _ = train("expected")
    if content is None:  # a well-formed file, but no checkpoint of this training
        save_model(tmp_path / "foreign.checkpoint", build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=7))
    else:
        (tmp_path / "foreign.checkpoint").write_bytes(content)
    capfd.readouterr()
    begun, _ = train("foreign")
    assert equal(begun, expected)
    told = capfd.readouterr().err.splitlines()[0]
    assert told.startswith(f"{tmp_path / 'foreign.checkpoint'}: ")
    assert told.endswith("; training begins at the first epoch")


def test_the_order_of_settings_is_no_other_training_and_a_path_is_part_of_one():
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert fingerprint({"a": Path("b")}) != fingerprint({"a": Path("c")})


def test_checkpoints_lie_beside_the_models_and_nothing_else_is_removed(tmp_path):
    models = [tmp_path / name / "model.safetensors" for name in ("first", "second", "third")]
    for model in models:
        model.parent.mkdir()
        model.touch()
    for model in models[::2]:
        checkpoint_path(model).touch()
    assert checkpoint_path(models[0]) == tmp_path / "first/checkpoint.safetensors"
    remove_checkpoints(models[:2])  # the second has none
    assert [checkpoint_path(model).exists() for model in models] == [False, False, True]
    assert all(model.exists() for model in models)


@pytest.fixture(scope="module")
def other_dataset(pets, config, tmp_path_factory):
    """A data set of as many images of the same size, other ones."""
    section = copy.deepcopy(config["dataset"]) | {"image_size": 16}
    section["split"]["seed"] += 1
    for entry in section["classes"]:
        del entry["share"]
    path = tmp_path_factory.mktemp("other") / "dataset.h5"
    prepare_dataset(pets, path, section, threads=1)
    return path


CHANGES = {
    "data": {},
    "mask": {"mask": "half.h5"},
    "previous model": {"previous": "third"},
    "encoder": {"encoder": "half.h5"},
    "training": {"training": {"epochs": 1, "learning_rate": 0.02}},
    "start": {"start": "scratch"},
    "removal": {"removal": {"fill": "mean"}},
    "seed": {"seed": 2},
    "machine": {"machine": Machine("cpu", 2)},
    "software": {},
    "code": {"origin": {"code": "other"}},
}


@pytest.mark.parametrize("part", [None, *CHANGES])
def test_a_checkpoint_of_a_training_that_differs_in_any_part_is_not_used(
    part, dataset_path, other_dataset, tmp_path, monkeypatch, capfd
):
    write_intact_mask(dataset_path, tmp_path / "mask.h5")
    half = np.zeros((10, 16, 16), dtype=bool)
    half[:, :8] = True
    write_mask(tmp_path / "half.h5", iter([half]), (16, 16), {})
    plain = {"model": {"name": "unet", "widths": [2, 4], "dropout": 0.0}, "training": {"epochs": 1}}

    def train(name="this", dataset=dataset_path, previous=None, encoder=None, mask="mask.h5", **changes):
        arguments = training_arguments(dataset, tmp_path, name, previous=previous, **plain | changes)
        files = {"mask": tmp_path / mask, "encoder": encoder and tmp_path / encoder}
        arguments["files"] = replace(arguments["files"], **files)
        capfd.readouterr()
        train_model(**arguments)
        return capfd.readouterr().err

    for number, name in enumerate(("first", "second")):
        train(name, training={"epochs": 1 + number})
    shutil.copy(tmp_path / "second.safetensors", tmp_path / "third.safetensors")  # other weights, the same history
    shutil.copy(tmp_path / "first.csv", tmp_path / "third.csv")
    train(previous="first")
    if part == "software":
        monkeypatch.setattr(torch, "__version__", "99.0.0")
    again = train(**{"previous": "first", **({"dataset": other_dataset} if part == "data" else CHANGES.get(part, {}))})
    assert ("resuming after epoch 1" in again) == (part is None)
    assert ("checkpoint of another training" in again) == (part is not None)


def test_a_checkpoint_is_of_one_kind_of_device(train, monkeypatch):
    told = []
    monkeypatch.setattr(training, "fingerprint", lambda inputs: told.append(inputs) or "")
    train()
    assert told[0]["machine"] == ["cpu", 1, torch.__version__]  # no machine of the tests has two kinds to choose from


def test_a_checkpoint_is_of_one_network(train, capfd):
    train(model={"name": "unet", "widths": [2, 4], "dropout": 0.0})
    capfd.readouterr()
    train(model={"name": "unet", "widths": [2, 4], "dropout": 0.5})
    assert "checkpoint of another training" in capfd.readouterr().err
