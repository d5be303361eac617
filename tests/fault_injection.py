"""What the tests of faults share: an experiment of two arms, faults in its jobs, damage to its files."""

import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments import two_arms

TWO_ARMS = two_arms(training={"epochs": 3})
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
    """The bytes of all files of the results, by path; without Snakemake's records, which hold dates."""
    results = folder / RESULTS
    files = [path for path in results.rglob("*") if path.is_file() and path.name != "records.json"]
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


def leftovers(folder):
    return [path for path in folder.rglob("*partial*") if ".snakemake" not in path.parts]


def damage(path, how):
    """Cut a file in half, or flip one bit in its middle; its date stays."""
    state, content = path.stat(), bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 4
    path.write_bytes(content[:middle] if how == "cut" else content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@contextmanager
def disk_of_2_mb(folder):
    """Mount a small file system of its own at a new folder, where that is permitted."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here (that needs root)")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder):
    """Fill the disk of a folder but for 16 KB; return the file that does."""
    free = os.statvfs(folder)
    filler = folder / "filler"
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 16_384))
    return filler
