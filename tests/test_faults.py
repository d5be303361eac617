"""What ends a job half way, and the disk that it writes to: after each fault a plain run ends with the same bytes."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import run_snakemake

pytestmark = pytest.mark.pipeline

TINY = {
    "seeds": [1],
    "dataset": {"image_size": 16, "synthetic": {"images": 24, "side": 32}},
    "model": {"widths": [2, 4]},
    "training": {"epochs": 3, "batch_size": 4},
    "reduction": {"thresholds": [50], "iterations": 2},
    "arms": {"equal_compute": None, "restarts": None, "random": None, "oracle": None},
    "evaluation": {"comparators": ["single_pass"], "resamples": 100},
    "report": {"images": 2},
}
RESULTS = Path("results/demo")
DATA = [str(RESULTS / name) for name in ("dataset.h5", "intact_mask.h5")]


def injected(folder, plan):
    """The environment in which the jobs of a run meet the planned faults; see faults/sitecustomize.py."""
    counted = folder / "counted"
    counted.mkdir()
    faults = {"folder": str(counted), "plan": plan}
    return os.environ | {"PYTHONPATH": str(Path(__file__).parent / "faults"), "FAULTS": json.dumps(faults)}


def error_lines(done):
    """What the jobs of a run that failed say is wrong."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr.split("RuleException")[0], done.stderr
    return [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]


def files_of(folder):
    """The bytes of all files of the results, by path."""
    results = folder / RESULTS
    return {str(path.relative_to(results)): path.read_bytes() for path in results.rglob("*") if path.is_file()}


def leftovers(folder):
    return [path for path in folder.rglob("*partial*") if ".snakemake" not in path.parts]


def damage(path, how):
    """Cut a file in half, or flip one bit in its middle; its date stays."""
    state, content = path.stat(), bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 4
    path.write_bytes(content[:middle] if how == "cut" else content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of a run that stopped after the data set and the mask of all pixels; not to be changed."""
    folder = tmp_path_factory.mktemp("prepared") / "run"  # as deep as its copies: scripts are inputs, by relative path
    folder.mkdir()
    done = run_snakemake(folder, *DATA, overrides=TINY)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def unprepared(prepared, tmp_path):
    """A copy that lacks the data set."""
    folder = tmp_path / "run"
    shutil.copytree(prepared, folder)
    for name in DATA:
        (folder / name).unlink()
    return folder


def complete(folder, expected):
    """A plain run ends with the same bytes and nothing beside them."""
    done = run_snakemake(folder, *DATA, overrides=TINY)
    assert done.returncode == 0, done.stderr
    assert files_of(folder) == files_of(expected)
    assert not leftovers(folder)


def test_a_job_killed_while_it_writes_hdf5_is_run_again(unprepared, prepared, tmp_path):
    plan = {"prepare_dataset": [[signal.SIGKILL, "open", 5]]}
    done = run_snakemake(unprepared, *DATA, overrides=TINY, environment=injected(tmp_path, plan))
    assert done.returncode != 0
    assert leftovers(unprepared)
    assert not (unprepared / DATA[0]).exists()
    complete(unprepared, prepared)


def mounted(folder, *options):
    """Mount a small file system of its own, where that is permitted."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here (that needs root)")


@pytest.fixture
def small_disk(unprepared):
    """The results of `unprepared`, on a disk of 2 MB."""
    results, kept = unprepared / "results", unprepared / "kept"
    results.rename(kept)
    mounted(results)
    try:
        shutil.copytree(kept, results, dirs_exist_ok=True)
        shutil.rmtree(kept)
        yield unprepared
    finally:
        subprocess.run(["umount", str(results)], check=True)


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing_half_written(small_disk, prepared):
    filler = small_disk / "results/filler"
    free = os.statvfs(filler.parent)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 16_384))
    (line,) = error_lines(run_snakemake(small_disk, *DATA, overrides=TINY))
    assert line.startswith("results/demo/dataset.h5: No space left on device; ")
    assert not leftovers(small_disk)
    filler.unlink()
    complete(small_disk, prepared)


def test_a_folder_that_cannot_be_written_is_said_in_one_line(small_disk, prepared):
    remount = ["mount", "-o", "remount,ro", str(small_disk / "results")]
    subprocess.run(remount, check=True)
    done = run_snakemake(small_disk, *DATA, overrides=TINY)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert re.search(r"^config: pathvars\.results: /.*/results/demo cannot be written$", done.stderr, re.MULTILINE)
    subprocess.run([*remount[:2], "remount,rw", remount[-1]], check=True)
    complete(small_disk, prepared)


def test_a_damaged_data_set_is_named_and_made_again_once_it_is_deleted(unprepared, prepared):
    dataset = unprepared / DATA[0]
    shutil.copy2(prepared / DATA[0], dataset)
    damage(dataset, "flipped")
    (line,) = error_lines(run_snakemake(unprepared, *DATA, overrides=TINY))
    assert line.startswith(f"{DATA[0]}: damaged, a checksum differs ")
    assert line.endswith("; delete it and run again")
    dataset.unlink()
    complete(unprepared, prepared)
