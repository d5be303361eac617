import json

import pytest

from experiments import TRAINING
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.training.time_steps import time_networks

UNET = {"name": "unet", "widths": [2, 4]}
WINDOWS = {"name": "sliding_window", "widths": [2, 4], "window": 5}


@pytest.fixture
def timed(tmp_path):
    def run(*networks, shape=(16, 16, 3)):
        time_networks(networks, ["a", "b"], shape, Machine("cpu", 1), tmp_path / "networks.json")
        return json.loads((tmp_path / "networks.json").read_text())

    return run


def test_every_network_is_timed_with_its_own_steps(timed):
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
    assert told["networks"][0]["parameters"] == sum(p.numel() for p in build_model(3, 2, UNET, 0).parameters())
    assert all(network["step"] > 0 and network["image"] > 0 for network in told["networks"])


def test_a_larger_step_takes_longer(timed):
    small, large = (
        timed({"model": UNET, "training": TRAINING | {"batch_size": size}}, shape=(side, side, 1))["networks"][0]
        for size, side in ((1, 16), (8, 256))
    )
    assert large["step"] > 4 * small["step"]  # 2,048 times the pixels
    assert large["image"] > 4 * small["image"]
