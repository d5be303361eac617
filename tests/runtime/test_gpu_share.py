"""Which GPU a job takes, on pretended ones."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from experiments import ROOT
from spatial_reduction.runtime import gpu_share
from spatial_reduction.runtime.gpu_share import listed_devices, take_device, visible_devices

TAKE = """
import sys
from spatial_reduction.runtime.gpu_share import take_device
print(take_device(), flush=True)
sys.stdin.read()
"""
LISTED = """
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111)
  MIG 3g.20gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""


@pytest.fixture
def jobs(tmp_path):
    """Start processes that each take a GPU and hold it until they are told to end; return what they took."""
    started = []

    def start(count, devices):
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": devices, "TMPDIR": str(tmp_path)}
        environment["PYTHONPATH"] = str(ROOT / "scripts")
        command = [sys.executable, "-c", TAKE]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        new = [subprocess.Popen(command, env=environment, **pipes) for _ in range(count)]
        started.extend(new)
        return new, [job.stdout.readline().strip() for job in new]

    yield start
    for job in started:
        job.communicate(timeout=60)


def test_jobs_take_a_gpu_each_then_share_evenly_and_give_back_what_they_had(jobs):
    first, taken = jobs(3, "a,b,c")
    assert sorted(taken) == ["a", "b", "c"]
    _, shared = jobs(3, "a,b,c")
    assert sorted(shared) == ["a", "b", "c"]
    first[1].kill()
    first[1].wait(timeout=60)
    _, again = jobs(1, "a,b,c")
    assert again == [taken[1]]


def test_six_jobs_at_once_share_three_gpus_evenly(jobs):
    _, taken = jobs(6, "a,b,c")
    assert Counter(taken) == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize("named", ["", "-1", "0", "GPU-aaaa"])
def test_where_there_is_nothing_to_choose_nothing_is_taken(named, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert take_device() is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == named
    assert visible_devices() == ([named] if named not in ("", "-1") else [])


def test_a_gpu_that_is_taken_is_all_that_the_process_sees(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1, MIG-2")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(gpu_share, "_held", [])
    assert take_device() == os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-1"
    assert take_device() is None  # once in a process
    os.close(gpu_share._held[0])


def test_the_parts_of_a_divided_gpu_are_devices_of_their_own():
    assert listed_devices(LISTED) == ["MIG-1111", "MIG-2222", "GPU-bbbb"]
    assert listed_devices("No devices were found") == []


def test_the_driver_is_asked_where_no_variable_says_it(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_devices() == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!{sys.executable}\nprint({LISTED!r})\n")
    tool.chmod(0o755)
    assert visible_devices() == ["MIG-1111", "MIG-2222", "GPU-bbbb"]
