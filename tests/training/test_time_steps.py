import json
import os
import time

import pytest
import torch

from experiments import TRAINING
from spatial_reduction.data import dataset_file
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.training import time_steps
from spatial_reduction.training.epoch import Trainer
from spatial_reduction.training.time_steps import time_networks
from spatial_reduction.training.train import build_trainer

UNET = {"name": "unet", "widths": [2, 4]}
WINDOWS = {"name": "sliding_window", "widths": [2, 4], "window": 5}


@pytest.fixture
def timed(tmp_path):
    def run(*networks, shape=(16, 16, 3)):
        time_networks(networks, ["a", "b"], shape, Machine("cpu", 1), tmp_path / "networks.json")
        return json.loads((tmp_path / "networks.json").read_text())

    return run


def test_every_network_is_timed_with_its_own_steps(timed, capfd):
    weighted = {"border_weight": {"weight": 10, "sigma": 5, "balance": True}, "augmentation": ["flip", "shift"]}
    told = timed(
        {"model": UNET, "training": TRAINING | {"batch_size": 2}},
        {"model": UNET, "training": TRAINING | weighted},
        {"model": WINDOWS, "training": TRAINING | {"windows": 3}},
    )
    assert told["device"].startswith("cpu")
    assert told["cores"] >= 1
    assert told["start"] > 0
    assert len(told["networks"]) == 3
    first = told["networks"][0]
    line = f"{first['parameters']:,} parameters: {first['step']:.3f} s a step, {first['image']:.4f} s an image"
    assert capfd.readouterr().err.splitlines()[0] == line
    assert told["networks"][0]["parameters"] == sum(p.numel() for p in build_model(3, 2, UNET, 0).parameters())
    assert all(network["step"] > 0 and network["image"] > 0 for network in told["networks"])


def test_the_time_of_an_image_is_a_share_of_a_block_s_and_weights_are_there_where_asked(timed, monkeypatch):
    monkeypatch.setattr(dataset_file, "BLOCK_PIXELS", 2 * 16 * 8)  # two images a block
    monkeypatch.setattr(time_steps, "_median_seconds", lambda call: call() or 6.0)
    monkeypatch.setattr(time_steps, "predict", lambda network, images, device: predicted.append(images.shape))
    training = TRAINING | {"batch_size": 3}
    asked = [{}, {"class_weights": "balanced"}, {"border_weight": {"weight": 10, "sigma": 5}}]
    monkeypatch.setattr(time_steps, "build_trainer", lambda *all_of: built.append(all_of) or build_trainer(*all_of))
    monkeypatch.setattr(Trainer, "take_steps", lambda trainer, order, epoch, rates: taken.append((len(order), rates)))
    predicted, built, taken = [], [], []
    told = timed(*({"model": UNET, "training": training | each} for each in asked), shape=(16, 8, 3))
    assert [(each["step"], each["image"]) for each in told["networks"]] == [(6, 3)] * 3
    assert predicted == [(2, 16, 8, 3)] * 3
    assert taken == [(3, [0.01])] * 3
    tensors = [arguments[2][0].store.tensors for arguments in built]
    assert [len(each) for each in tensors] == [2, 3, 3]
    for pixels, labels, *weights in tensors:
        assert (pixels.shape, pixels.dtype) == ((3, 16, 8, 3), torch.uint8)
        assert (labels.shape, labels.dtype, labels.unique().tolist()) == ((3, 16, 8), torch.uint8, [0, 1])
        assert all((each == 1).all() and each.shape == labels.shape for each in weights)


def test_the_time_of_a_step_is_the_median_of_five_after_the_first_or_of_ten_seconds(monkeypatch):
    clock, durations = [100.0], iter(())
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def call():
        clock[0] += next(durations)

    for given, median in (([99, 1, 2, 5, 1, 0.5], 1), ([0, 4, 5, 2], 4), ([0, 10], 10), ([0, 3, 3, 2, 2], 2.5)):
        durations = iter(given)
        assert time_steps._median_seconds(call) == median
        assert list(durations) == []


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7} if process == 0 else set(), raising=False)
    assert time_steps._cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    for count, expected in ((5, 5), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert time_steps._cores() == expected


def test_trained_weights_are_not_asked_for(timed):
    encoder = {"name": "encoder_unet", "encoder": "test_efficientnet", "widths": [2, 4], "weights": "imagenet"}
    assert timed({"model": encoder, "training": TRAINING})["networks"][0]["step"] > 0


def test_a_larger_step_takes_longer(timed):
    small, large = (
        timed({"model": UNET, "training": TRAINING | {"batch_size": size}}, shape=(side, side, 1))["networks"][0]
        for size, side in ((1, 16), (8, 256))
    )
    assert large["step"] > 4 * small["step"]  # 2,048 times the pixels
    assert large["image"] > 4 * small["image"]
