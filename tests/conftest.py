"""What tests share: a folder of drawn pets, the configuration of a small data set, the prepared file."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
import yaml

from spatial_reduction.dataset import Dataset
from spatial_reduction.preparation import prepare_dataset
from spatial_reduction.synthetic import draw_synthetic_pets

ROOT = Path(__file__).resolve().parent.parent

# No test of a property asserts a time: a busy machine would fail it.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def config():
    """The embedded configuration; a fresh copy is needed to change it."""
    return yaml.safe_load((ROOT / "config/config.yaml").read_text())


@pytest.fixture(scope="session")
def pets(tmp_path_factory):
    """A folder of 24 drawn pets, 32 x 32 pixels, in the Oxford-IIIT Pet layout; not to be changed."""
    folder = tmp_path_factory.mktemp("raw") / "pets"
    draw_synthetic_pets(folder, images=24, side=32, test_share=50, seed=0)
    return folder


@pytest.fixture
def dataset_config(config):
    """The section `dataset` for `pets`, at 16 x 16 pixels."""
    section = copy.deepcopy(config["dataset"])
    section["image_size"] = 16
    for entry in section["classes"]:
        del entry["share"]
    return section


@pytest.fixture(scope="session")
def dataset_path(pets, config, tmp_path_factory):
    """A prepared data set of `pets`: 10 train, 2 validation, 12 test images; not to be changed."""
    section = copy.deepcopy(config["dataset"]) | {"image_size": 16}
    for entry in section["classes"]:
        del entry["share"]
    path = tmp_path_factory.mktemp("prepared") / "dataset.h5"
    prepare_dataset(pets, path, section, threads=2)
    return path


@pytest.fixture(scope="session")
def dataset(dataset_path):
    return Dataset.open(dataset_path)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data that REAL_DATA names."""
    folder = os.environ.get("REAL_DATA")
    if not folder:
        pytest.skip("REAL_DATA does not name a folder of real data")
    return Path(folder)


def start_snakemake(directory, *arguments, overrides=None, configfiles=(), root=ROOT, environment=None, prefix=()):
    """Start the workflow of the checkout `root` in a working directory; return the process.

    `overrides` is laid over the named files of config/, and they over config/config.yaml. `prefix` is a command that
    runs a command. What it prints is in `stdout.txt` and `stderr.txt` (a pipe that nobody reads would stop it).
    """
    files = [str(root / "config" / name) for name in configfiles]
    if overrides is not None:
        path = directory / "overrides.yaml"
        path.write_text(yaml.safe_dump(overrides))
        files.append(str(path))
    command = [
        *prefix,
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(root / "Snakefile"),
        "--directory",
        str(directory),
    ]
    command += ["--cores", "2", *arguments, *(["--configfile", *files] if files else [])]
    with open(directory / "stdout.txt", "w") as out, open(directory / "stderr.txt", "w") as err:
        return subprocess.Popen(command, stdout=out, stderr=err, cwd=directory, env=environment)


def run_snakemake(directory, *arguments, **options):
    """Run the workflow as `start_snakemake` does; return the finished process."""
    process = start_snakemake(directory, *arguments, **options)
    process.wait(timeout=600)
    out, err = ((directory / f"{name}.txt").read_text() for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def snakemake(tmp_path):
    """Run the workflow in an empty working directory; see `run_snakemake`."""

    def run(*arguments, **options):
        return run_snakemake(tmp_path, *arguments, **options)

    return run
