import subprocess
import sys

import pytest
import torch

from experiments import ROOT
from spatial_reduction.runtime import device
from spatial_reduction.runtime.device import Machine, choose_device, memory_told, moved, set_tf32
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.training.epoch import choose_precision


@pytest.fixture(autouse=True)
def restored():
    """Begin and end with PyTorch's own defaults, whatever tests before this one have entered."""
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False


def test_a_job_computes_in_ieee_float32_unless_its_training_names_another():
    set_tf32(True)
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


@pytest.fixture
def old_driver(monkeypatch, tmp_path):
    """A machine whose driver is too old for the installed PyTorch."""

    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update it.")

    (tmp_path / "version").touch()
    monkeypatch.setattr(device, "DRIVER", tmp_path / "version")
    monkeypatch.setattr("torch.cuda.init", init)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", "13.2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_driver_that_is_too_old_is_said_and_the_cpu_computes(old_driver, capfd):
    assert choose_device("auto").type == "cpu"
    assert choose_device("cpu").type == "cpu"  # asked for: nothing to say
    (line,) = capfd.readouterr().err.splitlines()
    assert "this machine's GPU cannot be used: torch" in line
    assert "The NVIDIA driver on your system is too old (found version 11040). Computing on cpu" in line


def test_a_driver_that_is_too_old_ends_a_job_that_was_to_use_it(old_driver):
    with pytest.raises(InputError, match=r"cuda is not available on this machine: torch .* driver on your system"):
        choose_device("cuda")


def test_gpus_that_are_hidden_are_no_fault(old_driver, monkeypatch, capfd):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device("auto").type == "cpu"
    assert capfd.readouterr().err == ""


def test_a_full_memory_names_what_was_computed_and_is_no_traceback():
    with (
        pytest.raises(InputError, match=r"^the memory of cpu .* is full: in batches of 8$"),
        memory_told(torch.device("cpu"), "in batches of 8"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_training_that_finds_the_memory_full_names_its_batch_size_and_network(train, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("spatial_reduction.training.epoch.Trainer.take_step", full)
    told = r"is full: a training of the network unet in batches of 4; a smaller training\.batch_size, or fewer jobs at "
    told += r"a time \(--resources gpu=N\), needs less$"
    with pytest.raises(InputError, match=told):
        train()
