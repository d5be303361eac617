"""Rows: how long each script takes to start, and how fast a whole workflow is."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from material import ROOT
from measuring import Row, alternate, divide

SCRIPTS = ROOT / "scripts"
BARE = {"torch": "import torch", "arrays": "import numpy, h5py"}
LATER = {"compute_saliency": "spatial_reduction.saliency.probability"}  # what a script imports when it knows its source
SAMPLED = ("shrink_mask", "collect_tables", "plot_contrasts", "compute_saliency", "train_model", "evaluate_model")


def seconds_to_import(statement: str) -> float:
    """Return the wall time of a fresh Python that runs a statement."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, cwd=SCRIPTS)
    return time.perf_counter() - begun


def import_of(script: str) -> str:
    """Return the statement that imports all that a job of the script does."""
    return "import " + ", ".join(filter(None, [script, LATER.get(script)]))


def needs_torch(script: str) -> bool:
    """Return whether a script's imports load torch."""
    check = f"{import_of(script)}, sys; sys.exit('torch' in sys.modules)"
    return subprocess.run([sys.executable, "-c", check], cwd=SCRIPTS).returncode == 1


def measure_start(n: int, every: bool) -> list[Row]:
    """Compare the start of scripts, a few or all, with that of the packages alone: torch, or numpy and h5py."""
    names = sorted(path.stem for path in SCRIPTS.glob("*.py")) if every else SAMPLED
    statements = BARE | {name: import_of(name) for name in names}
    found = alternate({name: lambda s=statement: seconds_to_import(s) for name, statement in statements.items()}, n)
    rows = []
    for name in names:
        kind = "torch" if needs_torch(name) else "arrays"
        what = f"start of {name} / {BARE[kind]}"
        rows.append(Row(what, found[name], "s", divide(found[name], found[kind])))
    return rows


def measure_demo(cores: int, n: int) -> list[Row]:
    """Run the demo with one core and with all; each time in an empty folder."""
    jobs = []

    def run(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", folder]
            subprocess.run([*command, "--cores", str(count), "--quiet", "all"], check=True, capture_output=True)
            seconds = time.perf_counter() - begun
            jobs.append(sum(1 for _ in Path(folder).glob("benchmarks/**/*.tsv")))
        return seconds

    found = alternate({"one": lambda: run(1), "all": lambda: run(cores)}, n, warm_up=False)
    rates = [60 * max(jobs) / seconds for seconds in found["all"]]
    name = f"the whole demo, {max(jobs)} jobs: 1 core / {cores} cores"
    return [Row(name, rates, "jobs/min", divide(found["one"], found["all"]))]
