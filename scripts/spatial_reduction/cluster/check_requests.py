"""Would a cluster run these jobs? Asked before a thousand of them are queued."""

import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say

# The options that snakemake-executor-plugin-slurm makes of resources (its documentation, version 2.8).
OPTIONS = {
    "slurm_partition": "--partition",
    "slurm_account": "--account",
    "cluster": "--clusters",
    "clusters": "--clusters",
    "slurm_cluster": "--clusters",
    "qos": "--qos",
    "constraint": "--constraint",
    "runtime": "--time",
    "mem_mb": "--mem",
    "mem_mb_per_cpu": "--mem-per-cpu",
    "nodes": "--nodes",
    "gres": "--gres",
}
Request = Mapping[str, int | str]


def sbatch_options(request: Request) -> list[str]:
    """Return the options of sbatch for what a job asks, as the executor plugin would give them.

    Args:
        request: resources of Snakemake, and `_cores` for the threads.
    """
    asked = {name: value for name, value in request.items() if value}
    if "mem_mb_per_cpu" in asked:
        asked.pop("mem_mb", None)
    options = [f"{option}={asked[name]}" for name, option in OPTIONS.items() if name in asked]
    if "gpu_model" in asked:
        options.append(f"--gpus={asked['gpu_model']}:{asked.get('gpu', 1)}")
    elif "gpu" in asked:
        options.append(f"--gpus={asked['gpu']}")
    if request.get("cpus_per_gpu"):
        options.append(f"--cpus-per-gpu={request['cpus_per_gpu']}")
    else:
        options.append(f"--cpus-per-task={request.get('cpus_per_task', request['_cores'])}")
    return options + shlex.split(str(request.get("slurm_extra", "")))


def check_requests(requests: Mapping[str, Request], output: str | Path) -> None:
    """Let `sbatch --test-only` judge every different request; nothing is queued.

    Args:
        requests: by name of the rule; empty where jobs run on this machine.
        output: JSON, the findings in words.

    Raises:
        InputError: Slurm would not accept one, or has no node that could ever run it.
    """
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name, request in requests.items():
        kinds.setdefault(tuple(sbatch_options(request)), []).append(name)
    refused = []
    for options, names in kinds.items():
        command = ["sbatch", "--test-only", *options, "--wrap", "true"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            refused.append(f"{', '.join(names)} (sbatch {shlex.join(options)}: {_reason(answer.stderr)})")
    if refused:
        raise InputError(
            f"Slurm refuses the jobs of {'; '.join(refused)}. Change set-threads, set-resources or "
            "default-resources in the profile"
        )
    findings = [f"Slurm accepts {' '.join(options)} ({', '.join(names)})" for options, names in kinds.items()]
    with written_whole(output) as partial:
        partial.write_text(json.dumps(findings or ["jobs run on this machine, nothing is asked of Slurm"]))


def conclude_preflight(node: str | Path, requests: str | Path) -> None:
    """Say what was found.

    Raises:
        InputError: a job would fail, or compute on something else than was meant.
    """
    found = json.loads(Path(node).read_text())
    for line in [*json.loads(Path(requests).read_text()), *found["findings"]]:
        say(line)
    if found["problems"]:
        for finding in (node, requests):  # or the next preflight would take them for its own
            Path(finding).unlink()
        raise InputError(f"{found['host']}: {'; '.join(found['problems'])}")
    say("ready")


def _reason(stderr: str) -> str:
    """Return what sbatch says without its own name: lines "sbatch: error: ...", "allocation failure: ..."."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in stderr.splitlines() if line.strip()]
    return "; ".join(lines) or "no reason given"
