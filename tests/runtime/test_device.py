import subprocess
import sys

import pytest
import torch

from experiments import ROOT
from spatial_reduction.runtime.device import Machine, choose_device, moved, set_tf32
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.training.epoch import choose_precision


@pytest.fixture(autouse=True)
def restored():
    """Begin and end with PyTorch's own defaults, whatever tests before this one have entered."""
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False


def test_a_job_computes_in_ieee_float32_unless_its_training_names_another():
    assert torch.backends.cudnn.allow_tf32  # PyTorch's own default
    Machine("cpu", 1).enter()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    set_tf32(True)
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("name", "expected"), [("auto", "float32"), ("float32", "float32"), ("tf32", "tf32"), ("bfloat16", "bfloat16")]
)
def test_the_precision_of_a_training_is_named(name, expected):
    assert choose_precision(name, torch.device("cpu")) == expected


def test_what_is_there_is_not_copied():
    tensor = torch.ones(2)
    assert moved(tensor, torch.device("cpu")) is tensor
    assert moved(tensor, torch.device("meta")).device.type == "meta"


def test_a_device_that_is_not_there_is_refused():
    absent = next(name for name in ("cuda", "mps") if choose_device("auto").type != name)
    with pytest.raises(InputError, match=rf"training\.device: {absent} is not available"):
        choose_device(absent)


def test_a_machine_is_entered_with_its_threads_and_twice_is_as_once():
    before = torch.get_num_threads()
    try:
        for _ in range(2):
            assert Machine("cpu", 3).enter() == torch.device("cpu")
            assert torch.get_num_threads() == 3
            assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)


def test_scores_that_ask_no_model_import_no_torch():
    code = "import sys, spatial_reduction.masks.score_pixels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts").returncode == 0
