import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from experiments import ROOT
from spatial_reduction.runtime import sole_writer as module
from spatial_reduction.runtime.log import logged
from spatial_reduction.runtime.sole_writer import sole_writer

HOLD = """
import sys, time
sys.path.insert(0, {scripts!r})
from spatial_reduction.runtime.sole_writer import sole_writer
with sole_writer({path!r}):
    print("holds", flush=True)
    time.sleep({seconds})
"""


def hold(path, seconds):
    """Start a process that holds the lock; return it once it does."""
    code = HOLD.format(scripts=str(ROOT / "scripts"), path=str(path), seconds=seconds)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "holds\n"
    return process


def end(process):
    process.kill()
    process.communicate(timeout=60)


def elsewhere(path, age=0.0, job=None):
    """Write the lock of a job on another machine, touched `age` seconds ago."""
    lock = path.with_name(f".{path.name}.writer")
    lock.write_text(json.dumps({"host": "other", "pid": 1, "begun": "1", "job": job, "at": 1}))
    os.utime(lock, (time.time() - age, time.time() - age))
    return lock


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_BEATS", 0.05)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path / "model"


def test_a_second_writer_waits_for_the_first_and_says_for_whom(path, capsys):
    first = hold(path, seconds=1)
    begun = time.monotonic()
    with sole_writer(path):
        assert time.monotonic() - begun > 0.5
        assert first.communicate(timeout=60) == ("", None)
    assert f"process {first.pid} on" in capsys.readouterr().err
    assert list(path.parent.iterdir()) == []


def test_the_lock_of_a_killed_process_is_taken_over_at_once(path):
    end(hold(path, seconds=60))
    with sole_writer(path):
        assert json.loads((path.parent / ".model.writer").read_text())["pid"] == os.getpid()


def test_many_writers_that_find_a_dead_ones_lock_never_overlap(path):
    first = hold(path, seconds=60)
    others = [hold_later(path) for _ in range(4)]
    end(first)
    spans = sorted(tuple(map(float, other.communicate(timeout=60)[0].split())) for other in others)
    assert len(spans) == 4
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(spans))


def hold_later(path):
    """Start a process that prints when it held the lock, from and to."""
    code = HOLD.format(scripts=str(ROOT / "scripts"), path=str(path), seconds=0.1)
    code = code.replace('print("holds", flush=True)', "print(time.monotonic())") + "    print(time.monotonic())\n"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("answer", "age", "is_taken"),
    [
        ("echo RUNNING", 1000, False),  # suspended or slow, but there
        ("echo COMPLETED", 0, True),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", 0, True),
        ("echo Unable to contact slurm controller >&2; exit 1", 0, False),
        ("echo Unable to contact slurm controller >&2; exit 1", 1000, True),
    ],
)
def test_slurm_says_whether_a_job_on_another_node_is_gone_and_else_its_beat(path, monkeypatch, answer, age, is_taken):
    squeue = path.parent / "bin/squeue"
    squeue.parent.mkdir()
    squeue.write_text(f"#!/bin/sh\n{answer}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    holder = json.loads(elsewhere(path, age, job="7").read_text())
    assert module._is_gone(holder, module._myself(), path.with_name(".model.writer")) == is_taken


def test_a_requeued_job_takes_its_own_lock_over(path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    elsewhere(path, job="7")
    with sole_writer(path):
        pass


def test_a_writer_whose_lock_was_taken_over_stops(path, tmp_path):
    def write():
        with logged(tmp_path / "log"), sole_writer(path):
            elsewhere(path)
            time.sleep(5)

    with pytest.raises(SystemExit) as stopped:
        write()
    assert stopped.value.code == 128 + signal.SIGTERM
    assert json.loads((tmp_path / ".model.writer").read_text())["host"] == "other"
