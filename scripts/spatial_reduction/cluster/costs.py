"""What each rule asked for and used: seconds, memory, load, GPU memory; and what to ask for next time."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from spatial_reduction.cluster.slurm_accounting import slurm_accounting
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say

MEMORY_FACTOR = 1.3  # over the largest peak: after 15 s a job is sampled every 30 s only, so a short peak is missed
MEMORY_ROUNDING_MB = 100
SNAKEMAKE_MB = 300  # two processes of Snakemake in every Slurm job: 140 + 128 MB measured (Slurm 22.05, Snakemake 9.27)
RUNTIME_FACTOR = 2  # over the slowest job: nodes and file systems differ, and a job beyond its limit is killed
SHORTEST_RUNTIME_MIN = 10  # below this a limit gains no earlier start, and one slow mount exceeds it
TRAINING_RULES = {True: "train_single_pass", False: "train_model"}  # by "is iteration 1"


def summarise_costs(benchmarks: str | Path, history: str | Path, costs: str | Path, slurm_jobs: str | Path) -> None:
    """Write one row per rule, and one per kind of Slurm job of this working directory (none without accounting).

    Args:
        benchmarks: folder of the experiment's benchmark files; the first level below it names the rule.
        history: the learning curves of all iterations; they record the GPU memory of training.
        costs, slurm_jobs: CSV files to write.
    """
    table = costs_per_rule(read_benchmarks(benchmarks), pd.read_csv(history))
    _write(table, costs)
    times = [path.stat().st_mtime for path in Path(benchmarks).rglob("*.tsv")]
    begin = datetime.fromtimestamp(min(times)) if times else datetime.now()
    _write(slurm_accounting(Path.cwd(), since=begin - timedelta(days=1)), slurm_jobs)  # a job ends before its first


def read_benchmarks(folder: str | Path) -> pd.DataFrame:
    """Return one row per job that ran: its last run.

    Columns: rule, seconds, cpu_seconds, memory_mb (peak of the job's processes together, as sampled), threads,
    memory_requested_mb, runtime_requested_s. What a file does not say is NaN: a job of under a second may end before
    it is sampled, and requests are written with Snakemake's `--benchmark-extended` only. A training that was resumed
    shows the seconds of its last attempt.
    """
    folder, names = Path(folder), ["rule", "s", "cpu_time", "max_rss", "threads", "resources"]
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        header, *lines = path.read_text(encoding="utf-8").split("\n")
        for line in filter(None, lines):
            job = dict(zip(header.split("\t"), line.split("\t"), strict=False))
            job["rule"] = path.relative_to(folder).parts[0].removesuffix(".tsv")
            rows.append([job.get(name) for name in names])
    found = pd.DataFrame(rows, columns=names, dtype=str)
    asked = {name: found["resources"].str.extract(rf"'{name}': (\d+)")[0] for name in ("mem_mb", "runtime")}
    jobs = pd.DataFrame(
        {
            "seconds": found["s"],
            "cpu_seconds": found["cpu_time"],
            "memory_mb": found["max_rss"],
            "threads": found["threads"],
            "memory_requested_mb": asked["mem_mb"],
            "runtime_requested_s": asked["runtime"],
        }
    )
    jobs = jobs.apply(pd.to_numeric, errors="coerce").astype(float)
    jobs["runtime_requested_s"] *= 60
    jobs.insert(0, "rule", found["rule"])
    return jobs.dropna(subset="seconds")


def costs_per_rule(jobs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return one row per rule, the rule of most seconds first; requests are the largest of its jobs.

    Columns: rule, jobs, seconds_median, seconds_max, runtime_requested_s, memory_max_mb, memory_requested_mb,
    gpu_memory_max_mb (as PyTorch reserved it, without the 0.5 GB or so of the CUDA context; training only), threads,
    load_mean (busy cores, over the sampled jobs), suggested_mem_mb, suggested_runtime_min.
    """
    sampled = jobs.assign(sampled_seconds=jobs["seconds"].where(jobs["cpu_seconds"].notna()))
    rules = sampled.groupby("rule")
    total = rules[["seconds", "cpu_seconds", "sampled_seconds"]].sum()
    table = rules.agg(
        jobs=("seconds", "size"),
        seconds_median=("seconds", "median"),
        seconds_max=("seconds", "max"),
        runtime_requested_s=("runtime_requested_s", "max"),
        memory_max_mb=("memory_mb", "max"),
        memory_requested_mb=("memory_requested_mb", "max"),
        threads=("threads", "max"),
    )
    table.insert(6, "gpu_memory_max_mb", _gpu_memory(history).reindex(table.index))
    table["load_mean"] = total["cpu_seconds"] / total["sampled_seconds"].where(total["sampled_seconds"] > 0)
    table["suggested_mem_mb"] = suggest_memory(table["memory_max_mb"])
    table["suggested_runtime_min"] = suggest_runtime(table["seconds_max"])
    order = total["seconds"].sort_values(ascending=False, kind="stable").index
    return table.loc[order].round(2).reset_index()


def suggest_memory(peak_mb: pd.Series) -> pd.Series:
    """Return `mem_mb` to ask Slurm for, given the peak of the job's own processes; NaN stays NaN.

    A training whose images are most of its peak may find them above half of that, and then reads them from their files.
    """
    return MEMORY_ROUNDING_MB * np.ceil((MEMORY_FACTOR * peak_mb) / MEMORY_ROUNDING_MB) + SNAKEMAKE_MB


def suggest_runtime(slowest_s: pd.Series) -> pd.Series:
    """Return `runtime` in minutes to ask Slurm for, given the seconds of the slowest job."""
    return np.ceil(RUNTIME_FACTOR * slowest_s / 60).clip(lower=SHORTEST_RUNTIME_MIN)


def profile_section(table: pd.DataFrame) -> str:
    """Return the suggestions as `set-resources` of a Snakemake profile (YAML); rules never sampled are left out."""
    known = table.dropna(subset=["suggested_mem_mb", "suggested_runtime_min"])
    lines = [
        f"  {row.rule}: {{mem_mb: {row.suggested_mem_mb:.0f} * attempt, runtime: {row.suggested_runtime_min:.0f}}}"
        for row in known.itertuples()
    ]
    return "\n".join(["set-resources:", *lines])


def _gpu_memory(history: pd.DataFrame) -> pd.Series:
    """Return the peak in MB per training rule; empty for learning curves that do not record it."""
    if "gpu_memory_mb" not in history:
        return pd.Series(dtype=float)
    rules = (history["iteration"] == 1).map(TRAINING_RULES)
    return history["gpu_memory_mb"].groupby(rules).max()


def _write(table: pd.DataFrame, output: str | Path) -> None:
    with written_whole(output) as partial:
        table.to_csv(partial, index=False)
    say(f"{output}: {len(table)} rows")
