"""What ends a job half way, and the disk that it writes to: after each fault a plain run ends with the same bytes."""

import re
import shutil
import signal
import subprocess

import pytest

from experiments import run_snakemake
from fault_injection import DATA, TWO_ARMS, damage, disk_of_2_mb, error_lines, files_of, fill, injected, leftovers

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of a run that stopped after the data set and the mask of all pixels; not to be changed."""
    folder = tmp_path_factory.mktemp("prepared") / "run"  # as deep as its copies: scripts are inputs, by relative path
    folder.mkdir()
    done = run_snakemake(folder, *DATA, overrides=TWO_ARMS)
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
    done = run_snakemake(folder, *DATA, overrides=TWO_ARMS)
    assert done.returncode == 0, done.stderr
    assert files_of(folder) == files_of(expected)
    assert not leftovers(folder)


def test_a_job_killed_while_it_writes_hdf5_is_run_again(unprepared, prepared, tmp_path):
    plan = {"prepare_dataset": [[signal.SIGKILL, "open", 1]]}
    done = run_snakemake(unprepared, *DATA, overrides=TWO_ARMS, environment=injected(tmp_path, plan))
    assert done.returncode != 0
    assert leftovers(unprepared)
    assert not (unprepared / DATA[0]).exists()
    complete(unprepared, prepared)


@pytest.fixture
def small_disk(unprepared):
    """The results of `unprepared`, on a disk of 2 MB."""
    results, kept = unprepared / "results", unprepared / "kept"
    results.rename(kept)
    with disk_of_2_mb(results):
        shutil.copytree(kept, results, dirs_exist_ok=True)
        shutil.rmtree(kept)
        yield unprepared


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing_half_written(small_disk, prepared):
    filler = fill(small_disk / "results")
    (line,) = error_lines(run_snakemake(small_disk, *DATA, overrides=TWO_ARMS))
    assert line.startswith("results/demo/dataset.h5: No space left on device; ")
    assert not leftovers(small_disk)
    filler.unlink()
    complete(small_disk, prepared)


def test_a_folder_that_cannot_be_written_is_said_in_one_line(small_disk, prepared):
    remount = ["mount", "-o", "remount,ro", str(small_disk / "results")]
    subprocess.run(remount, check=True)
    done = run_snakemake(small_disk, *DATA, overrides=TWO_ARMS)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert re.search(r"^config: .*pathvars\.results: /.*/results/demo cannot be written$", done.stderr, re.MULTILINE)
    subprocess.run([*remount[:2], "remount,rw", remount[-1]], check=True)
    complete(small_disk, prepared)


def test_a_damaged_data_set_is_named_and_made_again_once_it_is_deleted(unprepared, prepared):
    dataset = unprepared / DATA[0]
    shutil.copy2(prepared / DATA[0], dataset)
    damage(dataset, "flipped")
    (line,) = error_lines(run_snakemake(unprepared, *DATA, overrides=TWO_ARMS))
    assert line.startswith(f"{DATA[0]}: damaged, a checksum differs ")
    assert line.endswith("; delete it and run again")
    dataset.unlink()
    complete(unprepared, prepared)
