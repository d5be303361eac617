"""Write a profile of this cluster, and the job that drives a run, from what Slurm says of itself."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from spatial_reduction.cluster.inner_snakemake import run_snakemake
from spatial_reduction.cluster.slurm_site import Partition, Rights, read_partitions, read_rights
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say

MOST_JOBS = 200
DRIVER = """#!/usr/bin/env bash
# Runs snakemake as a job of its own: sbatch {path}
# A target may follow, such as preview.
# Where login nodes let programs run for days, in tmux instead: tmux new-session -d -s snakemake {command}
#SBATCH --job-name=snakemake
#SBATCH --cpus-per-task=1
#SBATCH --mem=4000
#SBATCH --time={time}
#SBATCH --output={log}
{options}# 10 minutes before the time limit snakemake cancels its jobs; submit this again, and all goes on where it was.
#SBATCH --signal=B:INT@600
cd {folder}
exec {command} "$@"
"""


def set_up_site(template: str | Path, folder: str | Path, command: Sequence[str], needs_gpu: bool) -> None:
    """Write config.yaml, partitions.yaml and driver.sh below `folder`; say what was found; run preflight with them.

    Args:
        template: the profile `slurm`, whose settings are kept.
        command: snakemake and its arguments without a profile, as the driver runs it.
        needs_gpu: whether trainings compute on a GPU.

    Raises:
        InputError: Slurm does not answer, no partition is open to this user or has a GPU, or preflight does not end
            with `ready`. In the last case the files stay, to be corrected.
    """
    folder, rights = Path(folder).absolute(), read_rights()
    partitions = usable(read_partitions(), rights)
    if not partitions:
        raise InputError("Slurm shows no partition that is up and open to you; ask who runs the cluster for one")
    if needs_gpu and not any(each.gpus for each in partitions):
        names = ", ".join(each.name for each in partitions)
        raise InputError(
            f"none of the partitions open to you has a GPU ({names}); to mean the CPU, set training.device: cpu"
        )
    with written_whole(folder / "partitions.yaml") as partial:
        partial.write_text(partitions_file(partitions))
    with written_whole(folder / "config.yaml") as partial:
        partial.write_text(profile(Path(template).read_text(), folder, rights, partitions))
    whole = [*command, "--workflow-profile", str(folder)]
    with written_whole(folder / "driver.sh") as partial:
        partial.write_text(driver(folder / "driver.sh", whole, partitions, rights))
    for each in partitions:
        gpus = ", ".join(f"{count} {model or 'of no type'}" for model, count in each.gpus.items()) or "none"
        limit = "no time limit" if each.minutes is None else f"{each.minutes} minutes"
        say(f"partition {each.name}: {limit}, GPUs a node: {gpus}, {each.cores} cores, {each.memory_mb} MB")
    say(f"account: {', '.join(rights.accounts) or 'none needed'}; QOS: {', '.join(rights.qos) or 'none needed'}")
    say(f"wrote {folder}/config.yaml, partitions.yaml and driver.sh")
    preflight = [*whole, "preflight"]
    status, _ = run_snakemake([*preflight, "--nolock"], say)  # the snakemake of this job may hold the folder's lock
    if status:
        again = shlex.join(preflight)
        raise InputError(
            f"the profile is written, and preflight refuses it: correct {folder}/config.yaml, then: {again}"
        )
    say(f"now: sbatch {folder}/driver.sh")


def usable(partitions: Sequence[Partition], rights: Rights) -> list[Partition]:
    """Return the partitions that are up and open to this user; those that preempt only if no other is."""
    groups = set(rights.groups)
    open_ones = [
        each
        for each in partitions
        if each.is_up
        and (not each.groups or groups & set(each.groups))
        and (not each.accounts or set(rights.accounts) & set(each.accounts))
    ]
    return [each for each in open_ones if not each.is_preempted] or open_ones


def partitions_file(partitions: Sequence[Partition]) -> str:
    """Return what the plugin chooses a job's partition by (--slurm-partition-config), as YAML.

    Of the partitions with GPUs, and of those without, the one of the longest jobs takes any time, and each takes any
    memory: a later attempt that asks for more is cut to what is allowed, where else it would fit nowhere.
    """
    lines, longest = ["partitions:"], {bool(each.gpus): each for each in sorted(partitions, key=_longest_last)}
    for each in partitions:
        limits = {
            "max_threads": each.cores,
            "max_gpu": max(each.gpus.values(), default=0),
        }
        if each.minutes is not None and each is not longest[bool(each.gpus)]:
            limits["max_runtime"] = each.minutes
        lines += [f"  {each.name}:", *(f"    {key}: {value}" for key, value in limits.items())]
        models = [model for model in each.gpus if model]
        lines += [f"    available_gpu_models: [{', '.join(models)}]"] if models else []
    return "\n".join([*lines, ""])


def _longest_last(partition: Partition) -> float:
    return float("inf") if partition.minutes is None else partition.minutes


def profile(template: str, folder: Path, rights: Rights, partitions: Sequence[Partition]) -> str:
    """Return the profile `slurm` with what this site needs; no rule asks for more cores than a node has."""
    limits = [table.get(name) for name, table in _chosen(rights)]
    jobs = min([MOST_JOBS, *filter(None, limits)])
    text = template.replace("jobs: 200", f"jobs: {jobs}", 1)
    own = [f"slurm-partition-config: {folder}/partitions.yaml # each job goes to the partition that fits it best", ""]
    text = text.replace("slurm-logdir:", "\n".join([*own, "slurm-logdir:"]).replace("\n\n", "\n"), 1)
    before, threads = text.split("set-threads:\n")
    cores = max(each.cores for each in partitions)
    threads = re.sub(r"(?<=: )\d+", lambda asked: str(min(int(asked[0]), cores)), threads)
    text = f"{before}set-threads:\n{threads}"
    account = f"  slurm_account: {rights.accounts[0]}\n" if rights.accounts else ""
    return text.replace("default-resources:\n", f"default-resources:\n{account}", 1)


def driver(path: Path, command: Sequence[str], partitions: Sequence[Partition], rights: Rights) -> str:
    """Return the script that runs snakemake in a job, in the partition without GPUs that lets jobs run longest."""
    where = max(partitions, key=lambda each: (not each.gpus, each.minutes is None, each.minutes or 0))
    options = f"#SBATCH --partition={where.name}\n"
    options += f"#SBATCH --account={rights.accounts[0]}\n" if rights.accounts else ""
    time = "7-00:00:00" if where.minutes is None else where.minutes
    return DRIVER.format(
        path=path,
        log=shlex.quote(f"{path.parent}/driver-%j.log"),  # Slurm starts no job whose log has no folder
        command=shlex.join(command),
        time=time,
        options=options,
        folder=shlex.quote(str(Path.cwd())),
    )


def _chosen(rights: Rights) -> list[tuple[str, dict[str, int]]]:
    """Return the account and the QOS that a job gets without being asked, with the table of their limits."""
    jobs = rights.jobs or {"account": {}, "qos": {}}
    first = (("account", rights.accounts), ("qos", rights.qos))
    return [(names[0], jobs[kind]) for kind, names in first if names]
