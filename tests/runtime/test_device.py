"""What a job computes on, as far as a machine without a GPU can tell."""

import pytest
import torch

from spatial_reduction.runtime.device import Machine, moved, set_tf32
from spatial_reduction.training.epoch import choose_precision


@pytest.fixture(autouse=True)
def restored():
    """Leave the precision of this process as it was."""
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
