"""What jobs ask of a cluster, and what an earlier run left on it. No rules."""

import getpass
import re
import shlex
import signal
import subprocess
from types import SimpleNamespace

from snakemake.iocontainers import Wildcards
from snakemake_interface_common.exceptions import WorkflowError

# The plugin takes it out of the environment where snakemake itself runs in a job.
SLURM_CONF = os.environ.get("SLURM_CONF")


def put_slurm_conf_back():
    """Let Slurm's commands find their cluster also where snakemake runs in a job."""
    if SLURM_CONF:
        os.environ["SLURM_CONF"] = SLURM_CONF


def stand_before_slurm():
    """Put the library's sbatch, squeue and sacct before Slurm's on the PATH, watch the queue, outlive the terminal."""
    if workflow.executor_plugin.name != "slurm":
        return
    sys.path.append(checkout("scripts"))
    from spatial_reduction.cluster.plugin_commands import install
    from spatial_reduction.cluster.slurm_site import read_limits
    from spatial_reduction.cluster.watch_jobs import Watcher
    from spatial_reduction.runtime.errors import InputError

    try:
        limits = read_limits()
    except InputError as error:
        sys.exit(f"Slurm does not answer, so nothing is submitted: {error}")
    os.environ |= install(".snakemake/slurm", SLURM_CONF, limits)
    Watcher(".snakemake/slurm").start()
    signal.signal(signal.SIGHUP, go_on_without_terminal)


def go_on_without_terminal(number, frame):
    """When the terminal closes, go on, and say the rest in a file."""
    os.makedirs("logs/slurm", exist_ok=True)
    file = os.open("logs/slurm/snakemake.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)


class Asked(dict):
    """Resources as the plugin reads them: by key and by attribute."""

    __getattr__ = dict.get


def one_job_of_each():
    """List the jobs of the plan with the first seed and, of each arm, the first threshold: [(rule, wildcards, input)].

    No job of another seed or threshold asks for anything else.
    """
    files, seen, jobs = list(workflow.get_rule("all").expand_input({})[0]), set(), {}
    while files:
        file = str(files.pop())
        if file in seen:
            continue
        seen.add(file)
        step = next((each for each in workflow.rules if each.is_producer(file)), None)
        wildcards = step.get_wildcards(file) if step else {}
        first = {"100", ARMS[wildcards["arm"]]["reduction"]["thresholds"][0]} if "arm" in wildcards else set()
        is_first = (
            "arm" not in wildcards
            or wildcards.get("threshold") in {None, *first}
            and wildcards.get("seed")
            in {
                None,
                str(SEEDS[0]),
            }
        )
        key = (step and step.name, tuple(sorted(wildcards.items())))
        if step and is_first and key not in jobs:
            wildcards = Wildcards(fromdict=wildcards)
            needed = step.expand_input(wildcards)[0]
            jobs[key] = (step, wildcards, needed)
            files += needed
    return list(jobs.values())


def slurm_requests(wildcards):
    """List what each kind of Slurm job asks for at its first and last attempt; on this machine, nothing.

    Each is {name, attempt, count, gpus, minutes, command} or, where it cannot be submitted at all, {name, problem}.
    """
    if workflow.executor_plugin.name != "slurm":
        return []
    bundles = {}
    for step, its, needed in one_job_of_each():
        if not workflow.is_local(step):
            group = workflow.group_settings.overwrite_groups.get(step.name, "")
            name = f"chain {its.arm}" if "{arm}" in group else group or step.name
            count = len([c for c in CHAINS if c.arm == its.arm]) if "{threshold}" in group else 1
            count = len(SEEDS) if "seed" in its.keys() and count == 1 else count
            bundles.setdefault((name, group.format(**its) if group else f"{step.name} {its}"), (count, []))[1].append(
                (step, its, needed)
            )
    attempts = sorted({1, 1 + workflow.execution_settings.retries})
    return [
        slurm_request(name, count, jobs, attempt)
        for (name, _), (count, jobs) in bundles.items()
        for attempt in attempts
    ]


def jobs_at_a_time(wildcards):
    """Return how many jobs Snakemake submits at most; None: any number."""
    return workflow.nodes if workflow.executor_plugin.name == "slurm" and workflow.nodes < sys.maxsize else None


def slurm_request(name, count, jobs, attempt):
    """Return what the jobs that travel as one Slurm job ask for, composed by Snakemake and by the plugin."""
    from snakemake.resources import GroupResources
    from snakemake_executor_plugin_slurm import submit_string, utils, validation

    members = [
        SimpleNamespace(
            pipe_group=None,
            resources=Asked(step.expand_resources(its, needed, attempt=attempt, skip_evaluation={"disk_mb"})),
            name=step.name,
        )
        for step, its, needed in jobs
    ]
    for key in sorted({key for member in members for key, value in member.resources.items() if isinstance(value, str)}):
        rules = {}
        for member in members:
            if key in member.resources and key not in ("tmpdir", "mem", "disk"):
                rules.setdefault(member.resources[key], set()).add(member.name)
        if len(rules) > 1:
            said = "; ".join(f"{value} for {', '.join(sorted(names))}" for value, names in rules.items())
            return {"name": name, "problem": f"its jobs travel together and disagree on {key}: {said}"}
    try:
        resources = Asked(
            GroupResources.basic_layered([[m] for m in members], workflow.global_resources, run_local=False)
            if len(members) > 1
            else members[0].resources
        )
        job = SimpleNamespace(
            name=name, resources=resources, threads=resources["_cores"], is_group=lambda: len(members) > 1
        )
        validation.validate_slurm_extra(job)
        account = resources.get("slurm_account")
        params = {
            "run_uuid": "preflight",
            "slurm_logfile": "preflight.log",
            "comment_str": name,
            "account": f"-A {shlex.quote(str(account))}" if account else "",
            "partition": partition_option(job),
            "workdir": "",
        }
        command = submit_string.get_submit_command(job, params, settings=workflow.executor_settings)
        command += utils.set_gres_string(job)
    except WorkflowError as error:
        return {"name": name, "problem": str(error)}
    asks_share = re.search(r"\b(gpu|shard|mps)\b", resources.get("gres") or "")
    return {
        "name": name,
        "attempt": attempt,
        "count": count,
        "gpus": resources.get("gpu") or int(bool(asks_share)),
        "minutes": resources.get("runtime") or 0,
        "seconds": sum(
            taken(step.name, its.arm) if step.name in ESTIMATED else 60 * member.resources.get("runtime", 0)
            for (step, its, _), member in zip(jobs, members)
        ),
        "command": shlex.split(command)[1:],
    }


def partition_option(job):
    """Return the option for the partition, chosen as the plugin does: named, or the best of --slurm-partition-config."""
    from snakemake.logging import logger
    from snakemake_executor_plugin_slurm import partitions

    path = workflow.executor_settings.partition_config or os.environ.get("SNAKEMAKE_SLURM_PARTITIONS")
    chosen = job.resources.get("slurm_partition")
    if not chosen and path:
        chosen = partitions.get_best_partition(partitions.read_partition_file(path), job, logger)
    return f"-p {shlex.quote(str(chosen))}" if chosen else ""


def refuse_leftover_jobs():
    """Stop if Slurm has jobs that a snakemake submitted from this folder: two runs would write the same files."""
    if workflow.executor_plugin.name != "slurm" or set(workflow.dag_settings.targets) == {"preflight"}:
        return
    command = ["squeue", "--user", getpass.getuser(), "--noheader", "--format", "%i|%Z|%k"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(f"Slurm does not answer, so nothing is submitted: {answer.stderr.strip()}")
    jobs = [line.split("|", 2) for line in answer.stdout.splitlines()]
    here = os.path.realpath(os.getcwd())
    left = [job for job, folder, comment in jobs if os.path.realpath(folder) == here and comment.startswith("rule_")]
    if left:
        sys.exit(
            "Slurm still has jobs that were submitted from this folder, and two runs must not write the same files. If their "
            "snakemake runs, let it, or give this one its own folder (--directory). If it was killed, wait for them, or: "
            f"scancel {' '.join(left)}"
        )
