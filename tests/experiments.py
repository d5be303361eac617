"""What tests share beside fixtures: THE tiny experiment, and how a workflow is run on it."""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import h5py
import torch
import yaml
from snakemake.utils import update_config

from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.reduction_step import ReductionStep
from spatial_reduction.networks.tiled_inference import compute_logits_of_part, cut_into_tiles
from spatial_reduction.runtime.checksum_footer import append_checksum
from spatial_reduction.runtime.device import Machine
from spatial_reduction.training.train import TrainingFiles

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
PROTOCOLS = ["intact", "self_masked", "label_masked", "noise", "background_swapped"]

# Laid over config/config.yaml: saliency has one reduction; it shares iteration 1 with single_pass.
TINY = {
    "seeds": [1],
    "dataset": {"image_size": 16, "split": {"test_share": 50}, "synthetic": {"images": 24, "side": 32, "spread": 10}},
    "model": {"widths": [2, 4], "initialisation": "default"},
    "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.005},
    "reduction": {"thresholds": [50], "iterations": 2},
    "arms": {"restarts": None, "equal_compute": {"iterations": 1, "train_for": "chain"}},
    "evaluation": {"resamples": 100, "comparators": ["equal_compute", "single_pass"]},
    "report": {"images": 2},
}


# Sections of a configuration as the library's functions take them.
TRAINING = {
    "epochs": 3,
    "batch_size": 4,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "momentum": 0.9,
    "schedule": {"kind": "plateau", "monitor": "validation", "factor": 0.5, "patience": 0},
    "keep": "last",
    "augmentation": [],
    "precision": "auto",
    "device": "cpu",
}
REDUCTION = {"source": "probability", "classes_of_interest": ["pet", "border"], "schedule": "compounding", "step": 0}

# Holds the results of argument 2 by the library of argument 1 until its input ends.
HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from spatial_reduction.runtime.sole_writer import hold_results
print(hold_results(sys.argv[2]), flush=True)
sys.stdin.read()
"""


def training_arguments(dataset, folder, name="model", training=None, previous=None, removal=None, **changes):
    """Return arguments of `train_model` for a small U-Net, into NAME.safetensors, .csv, .h5 and .checkpoint.

    `previous` is the name of an earlier training; `removal` and `training` are laid over the defaults; of `changes`,
    `mask` is a file and all others are arguments.
    """
    folder = Path(folder)
    files = {"dataset": dataset, "mask": changes.pop("mask", folder / "mask.h5")}
    files |= {"model": folder / f"{name}.safetensors", "history": folder / f"{name}.csv"}
    if previous:
        files["previous_model"] = folder / f"{previous}.safetensors"
        files["previous_history"] = folder / f"{previous}.csv"
    training = TRAINING | (training or {})
    settings = {
        "files": TrainingFiles(
            **files, validation_counts=folder / f"{name}.h5", checkpoint=folder / f"{name}.checkpoint"
        ),
        "model": {"name": "unet", "widths": [2, 4]},
        "training": training,
        "removal": Removal(**(removal or {})),
        "start": "warm",
        "seed": 1,
        "machine": Machine(training["device"], 1, training.get("deterministic", False)),
    }
    return settings | changes


def reduction_step(threshold="50", **changes):
    """Return the step of an arm with changes of the section `reduction`."""
    return ReductionStep.from_settings(REDUCTION | changes, threshold)


def tiny(**changes):
    """Return a copy of the tiny experiment with changes laid over it."""
    experiment = deepcopy(TINY)
    update_config(experiment, changes)
    return experiment


def two_arms(**changes):
    """Return the tiny experiment with the single pass and the method alone."""
    return tiny(**({"arms": {"equal_compute": None}, "evaluation": {"comparators": ["single_pass"]}} | changes))


def nested(path, value):
    """Return {"a": {"b": value}} for the path "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@contextmanager
def edited_hdf5(path):
    """Open an HDF5 file to change it; its checksum is made to agree."""
    with h5py.File(path, "a") as file:
        yield file
    append_checksum(path)


def start_snakemake(
    directory,
    *arguments,
    overrides=None,
    configfiles=(),
    root=ROOT,
    environment=None,
    prefix=(),
    python=sys.executable,
    gpus="",
):
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
        python,
        "-m",
        "snakemake",
        "--snakefile",
        str(root / "Snakefile"),
        "--directory",
        str(directory),
    ]
    command += ["--cores", "2", *arguments, *(["--configfile", *files] if files else [])]
    # They pin numbers of the CPU and compare bytes: a GPU of this machine is none of their business.
    environment = {**(os.environ if environment is None else environment), "CUDA_VISIBLE_DEVICES": gpus}
    with open(directory / "stdout.txt", "w") as out, open(directory / "stderr.txt", "w") as err:
        return subprocess.Popen(command, stdout=out, stderr=err, cwd=directory, env=environment)


def await_that(is_so, process=None, seconds=300):
    """Wait until it is so, as long as the process lives, and no longer than that many seconds."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process is None or process.poll() is None, "the process ended before"
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)


def run_snakemake(directory, *arguments, **options):
    """Run the workflow as `start_snakemake` does; return the finished process."""
    process = start_snakemake(directory, *arguments, **options)
    try:
        process.wait(timeout=600)
    finally:
        process.kill()  # does nothing where it has ended
        process.wait()
    out, err = ((directory / f"{name}.txt").read_text() for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def hold(results, folder):
    """Start a process that holds a folder of results, as a run does; return it once it does."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(ROOT / "scripts"), str(results)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdout.readline() == "None\n"
    return process


def equal(first, second):
    """Return whether two sets of weights are the same bits."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def read_rules():
    """Return {rule: its text below its first line} of all rule files, and {heir: the rule it is derived from}."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    header = r"^(?:(?:rule|checkpoint) (\w+)|use rule (\w+) as (\w+) with):\n((?:(?:    .*)?\n)+)"
    found = re.findall(header, text + "\n", re.MULTILINE)
    bodies = {plain or heir: body for plain, _, heir, body in found}
    return bodies, {heir: base for _, base, heir, _ in found if heir}


RULES, BASES = read_rules()


def read_directives(rule):
    """Return {directive: its text} of a rule, with what it inherits; of params its own stand first."""
    own = dict(re.findall(r"^    (\w+):\n((?:        .*\n)+)", RULES[rule], re.MULTILINE))
    inherited = read_directives(BASES[rule]) if rule in BASES else {}
    return inherited | own | {"params": own.get("params", "") + inherited.get("params", "")}


def code_rules(checkout):
    """Return all that code.smk of this checkout defines, as if snakemake had just been started for another one."""
    file = ROOT / "workflow/rules/code.smk"
    config = {"keep_code": False, "pathvars": {"results": "results"}}
    workflow = SimpleNamespace(is_main_process=False)
    defined = {"os": os, "sys": sys, "workflow": workflow, "CHECKOUT": str(checkout), "config": config}
    exec(compile(file.read_text(), file, "exec"), defined)
    return defined


class WholeImage:
    """An array uint8 (H, W, C) that is read block by block."""

    def __init__(self, pixels):
        self.pixels, self.size = pixels, pixels.shape[:2]

    def block(self, rows, columns):
        return self.pixels[rows, columns]


def compute_logits_tiled(network, pixels, tile):
    """Return the logits of an image uint8 (H, W, C), put together from tiles: float32 (1, classes, H, W)."""
    image, cpu = WholeImage(pixels), torch.device("cpu")
    logits = torch.full((1, network.architecture["classes"], *image.size), float("nan"))
    for rows, columns in cut_into_tiles(image.size, tile, network.period):
        logits[..., rows, columns] = compute_logits_of_part(network, image, rows, columns, cpu)
    return logits


def documented_columns():
    """Return {table: its columns, in order}, as docs/tables.md lists them; the columns common to all stand before."""
    sections = re.split(r"^## ", (ROOT / "docs/tables.md").read_text(), flags=re.MULTILINE)[1:]
    cells = {text.partition(".csv")[0]: re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE) for text in sections}
    return {table: [name for cell in found for name in re.findall(r"`(\w+)`", cell)] for table, found in cells.items()}
