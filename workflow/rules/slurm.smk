"""What jobs ask of a cluster, and what an earlier run left on it. No rules."""

import getpass
import signal
import subprocess

# `device: cpu` asks for no GPU. What a training computes on is the configuration's affair, where it runs the profile's.
GPUS = 0 if config["training"]["device"] == "cpu" else 1

# The plugin takes it out of the environment where snakemake itself runs in a job.
SLURM_CONF = os.environ.get("SLURM_CONF")


def stand_before_slurm():
    """Put the library's sbatch, squeue and sacct before Slurm's on the PATH, watch the queue, outlive the terminal."""
    if workflow.executor_plugin.name != "slurm":
        return
    sys.path.append(checkout("scripts"))
    from spatial_reduction.cluster.plugin_commands import install
    from spatial_reduction.cluster.slurm_site import read_limits
    from spatial_reduction.cluster.watch_jobs import Watcher
    from spatial_reduction.runtime.errors import InputError

    if SLURM_CONF:
        os.environ["SLURM_CONF"] = SLURM_CONF
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


def asked_resources(rule, attempt):
    """Return a rule's threads and resources at an attempt, as the profile changed them."""
    asked = rule.expand_resources({}, [], attempt=attempt)
    return {key: value for key, value in asked.items() if isinstance(value, (int, str))}


def slurm_requests(wildcards):
    """Return what each kind of Slurm job asks for at its first and last attempt, {name: {resource: value}}.

    On this machine that is nothing. The jobs of a grouped chain run one after the other: it asks for the sum of their
    minutes and the most of the rest.
    """
    if workflow.executor_plugin.name != "slurm":
        return {}
    last = 1 + workflow.execution_settings.retries
    later = {f"{name} at attempt {last}": asked for name, asked in requests_at(last).items()} if last > 1 else {}
    return requests_at(1) | later


def requests_at(attempt):
    """Return the requests of one attempt."""
    reductions = max(chain.iterations for chain in CHAINS) - 1
    requests, chain = {}, {}
    for step in workflow.rules:
        asked = asked_resources(step, attempt)
        if step.name in workflow.group_settings.overwrite_groups:
            repeats = reductions if "iteration" in step.wildcard_names else 1
            if not repeats:
                continue
            minutes = asked.get("runtime", 0) * repeats
            chain = {
                key: chain.get("runtime", 0) + minutes if key == "runtime" else max(chain.get(key, value), value)
                for key, value in (chain | asked).items()
            }
        elif not workflow.is_local(step):
            requests[step.name] = asked
    return requests | ({"a chain": chain} if chain else {})


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
