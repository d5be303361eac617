"""What Slurm's accounting says of the jobs of a working directory: their waits, limits, memory and ends."""

import math
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from spatial_reduction.runtime.log import say

# The submit line (Slurm 21.08 or later) holds the comment with which Snakemake names its jobs; the field Comment is
# empty unless the site sets AccountingStoreFlags=job_comment. It comes last because it may hold the delimiter.
FIELDS = ["JobIDRaw", "State", "Submit", "Start", "ElapsedRaw", "TimelimitRaw", "ReqMem", "MaxRSS", "AllocTRES"]
FIELDS += ["WorkDir", "SubmitLine"]
JOB = ["rule", "state", "wait_s", "elapsed_s", "limit_s", "memory_mb", "memory_requested_mb", "gpus", "folder"]
COLUMNS = ["rule", "jobs", "states", "wait_median_s", "elapsed_median_s", "elapsed_max_s", "limit_s"]
COLUMNS += ["memory_max_mb", "memory_requested_mb", "gpus"]
MEGABYTES = {"": 1e-6, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
RECORD_OF_JOBS = ".snakemake/slurm"  # where a run that goes to Slurm keeps its jobs (slurm.smk)
SECONDS_TO_ANSWER = 120  # of sacct; a busy database must not hold up the report


def slurm_accounting(folder: str | Path, since: datetime) -> pd.DataFrame:
    """Return one row per rule, or group of rules, that Snakemake submitted to Slurm from `folder`.

    Columns: rule, jobs, states, wait_median_s (from submission to start), elapsed_median_s, elapsed_max_s, limit_s,
    memory_max_mb, memory_requested_mb, gpus (per job). Where `sacct` cannot tell, the table has no row and one line
    says why; where no run from `folder` went to Slurm, it is not asked.
    """
    if not Path(folder, RECORD_OF_JOBS).exists():
        return pd.DataFrame(columns=COLUMNS)
    asked = [f"--starttime={since:%Y-%m-%dT%H:%M:%S}", f"--format={','.join(FIELDS)}"]
    command = ["sacct", "--parsable2", "--noheader", "--units=M", *asked]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=True, timeout=SECONDS_TO_ANSWER
        )
    except (OSError, subprocess.SubprocessError) as error:
        say(f"no accounting of Slurm jobs: {_reason(error)}")
        return pd.DataFrame(columns=COLUMNS)
    jobs = parse_accounting(answer.stdout)
    here = jobs[jobs["folder"].map(os.path.realpath) == os.path.realpath(folder)]
    if here.empty:
        say(f"no accounting of Slurm jobs: sacct knows none from {folder} since {since:%Y-%m-%d %H:%M}")
    return jobs_per_rule(here)


def parse_accounting(text: str) -> pd.DataFrame:
    """Return one row per job of Snakemake in the output of `sacct --parsable2 --noheader --units=M` with FIELDS.

    Columns: rule, state, wait_s (NaN for a job that never started), elapsed_s, limit_s, memory_mb, memory_requested_mb,
    gpus, folder. Memory is the peak of the batch step (Snakemake) and of the largest of the other steps (the rule),
    which run beside it; steps of a group that ran side by side count as one.
    """
    jobs, steps = {}, defaultdict(dict)
    for line in text.splitlines():
        cells = line.split("|", len(FIELDS) - 1)
        if len(cells) == len(FIELDS):
            record = dict(zip(FIELDS, cells, strict=True))
            job, _, step = record["JobIDRaw"].partition(".")
            if step:
                steps[job][step] = _megabytes(record["MaxRSS"])
            else:
                jobs[job] = record
    rows = [_job(record, steps[job]) for job, record in jobs.items() if " --comment rule_" in record["SubmitLine"]]
    return pd.DataFrame(rows, columns=JOB)


def jobs_per_rule(jobs: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `slurm_accounting` from the one of `parse_accounting`; requests are the largest."""
    if jobs.empty:
        return pd.DataFrame(columns=COLUMNS)
    table = jobs.groupby("rule", sort=False).agg(
        jobs=("state", "size"),
        states=("state", _counted),
        wait_median_s=("wait_s", "median"),
        elapsed_median_s=("elapsed_s", "median"),
        elapsed_max_s=("elapsed_s", "max"),
        limit_s=("limit_s", "max"),
        memory_max_mb=("memory_mb", "max"),
        memory_requested_mb=("memory_requested_mb", "max"),
        gpus=("gpus", "max"),
    )
    return table.round(2).reset_index()[COLUMNS]


def _job(record: Mapping[str, str], steps: Mapping[str, float]) -> dict[str, Any]:
    others = [peak for step, peak in steps.items() if step != "batch" and not math.isnan(peak)]
    comment = re.search(r" --comment rule_(\S+)", record["SubmitLine"])
    gpus = re.search(r"gres/gpu=(\d+)", record["AllocTRES"])
    begun = record["Start"] if record["AllocTRES"] else ""  # cancelled in the queue, a job has a start but no resources
    submitted, started = (pd.to_datetime(time, errors="coerce") for time in (record["Submit"], begun))
    return {
        "rule": re.sub("(_wildcards_|-top_).*", "", comment[1]),  # a chain's comment is ARM-top_90-seed_1_RULES
        "state": record["State"].split(" ")[0],  # CANCELLED by 1000
        "wait_s": (started - submitted).total_seconds(),
        "elapsed_s": _number(record["ElapsedRaw"]),
        "limit_s": 60 * _number(record["TimelimitRaw"]),
        "memory_mb": steps.get("batch", math.nan) + max(others, default=0),
        "memory_requested_mb": _megabytes(record["ReqMem"]),
        "gpus": int(gpus[1]) if gpus else 0,
        "folder": record["WorkDir"],
    }


def _number(text: str) -> float:
    """Return a count, or NaN for an empty cell, UNLIMITED or Partition_Limit."""
    return float(text) if text.isdecimal() else math.nan


def _megabytes(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([KMGT]?)", text)
    return float(found[1]) * MEGABYTES[found[2]] if found else math.nan


def _counted(states: pd.Series) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.value_counts().items())


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, FileNotFoundError):
        return "this machine has no sacct"
    lines = (getattr(error, "stderr", None) or "").strip().splitlines()
    return lines[-1] if lines else str(error)
