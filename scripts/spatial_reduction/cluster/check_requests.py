"""Would a cluster run these jobs? Asked before a thousand of them are queued."""

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from spatial_reduction.cluster.plugin_commands import options_of
from spatial_reduction.cluster.slurm_site import count_gpus, most_allowed, read_limits, read_rights
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say

Request = Mapping[str, Any]
MANY = 10**6
UNITS = {"-t": "minutes", "--mem": "memory in MB"}


def check_requests(requests: Sequence[Request], output: str | Path, jobs: int | None = None) -> None:
    """Let `sbatch --test-only` judge every different request, and the limits that it does not look at.

    Nothing is queued. A time beyond what partition, account and QOS allow would pend for ever (`sbatch` takes it
    unless the site sets EnforcePartLimits): refused at the first attempt, cut to the limit at a later one.

    Args:
        requests: each {name, attempt, count, gpus, minutes, seconds, command}: `command` is the options of sbatch,
            `count` the number of jobs of that kind, `seconds` what one is expected to take; or {name, problem}. Empty
            where jobs run on this machine.
        output: JSON, the findings in words.
        jobs: the most that Snakemake submits at a time.

    Raises:
        InputError: Slurm would not accept one, or has no node that could ever run it.
    """
    refused = [f"{each['name']}: {each['problem']}" for each in _distinct(requests) if "problem" in each]
    asked = [each for each in requests if "problem" not in each]
    kinds: dict[tuple[str, ...], list[Request]] = {}
    for each in asked:
        kinds.setdefault(tuple(_own_options(each["command"])), []).append(each)
    limits = read_limits() if asked else {}
    findings = []
    for options, alike in kinds.items():
        names = _names(alike)
        given, is_first = options_of(options), any(each["attempt"] == 1 for each in alike)
        over = {
            option: most
            for option, most in most_allowed(limits, given).items()
            if given.get(option, "").isdecimal() and int(given[option]) > most
        }
        said = [
            f"{what} {given[option]}, and {over[option]} is the most"
            for option, what in UNITS.items()
            if option in over
        ]
        if over and is_first:
            refused.append(f"{names}: asks for {'; '.join(said)} that {_limited_by(given)} allows")
            continue
        if over:
            findings.append(
                f"{names}: would ask for {'; '.join(said)} that {_limited_by(given)} allows, and asks for that"
            )
            options = tuple(str(over.get(before, option)) for before, option in pairwise(["", *options]))
        command = ["sbatch", "--test-only", *options, "--wrap", "true"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            refused.append(f"{names} (sbatch {shlex.join(options)}: {_reason(answer.stderr)})")
        else:
            findings.append(f"Slurm accepts {shlex.join(options)} ({names})")
    if refused:
        raise InputError(
            f"Slurm refuses the jobs of {'; '.join(refused)}. Change set-threads, set-resources or "
            "default-resources in the profile"
        )
    if asked:
        findings += [*_queue_limit(asked, jobs), _bill(asked, jobs)]
    with written_whole(output) as partial:
        partial.write_text(json.dumps(findings or ["jobs run on this machine, nothing is asked of Slurm"]))


def _distinct(requests: Sequence[Request]) -> list[Request]:
    return list({(each["name"], each.get("problem")): each for each in requests}.values())


def _own_options(command: Sequence[str]) -> list[str]:
    """Return the options without those that name the job and its log."""
    own, skip = [], False
    for option in command:
        if skip:
            skip = False
        elif option in ("--job-name", "--output", "--comment"):
            skip = True
        elif option not in ("--parsable", "--export=ALL"):
            own.append(option)
    return own


def _names(alike: Sequence[Request]) -> str:
    """Return the names of requests that ask for the same; an attempt, where the first differs."""
    first = {each["name"]: each["name"] for each in alike if each["attempt"] == 1}
    later = {each["name"]: f"{each['name']} at attempt {each['attempt']}" for each in alike}
    return ", ".join((later | first).values())


def _limited_by(given: Mapping[str, str]) -> str:
    names = {"-p": "partition", "-A": "account", "--qos": "QOS"}
    return " or ".join(f"{what} {given[option]}" for option, what in names.items() if option in given) or "the default"


def _queue_limit(asked: Sequence[Request], jobs: int | None) -> list[str]:
    """Say so if the queue takes fewer jobs of this user than Snakemake would submit."""
    rights = read_rights()
    most = {(kind, name): count for kind, table in (rights.jobs or {}).items() for name, count in table.items()}
    used = {("account", rights.accounts[0])} if rights.accounts else set()
    used |= {("qos", rights.qos[0])} if rights.qos else set()
    for each in asked:
        for before, option in pairwise(["", *each["command"]]):
            used |= {("account", option)} if before == "-A" else set()
            used |= {("qos", option.removeprefix("--qos="))} if option.startswith("--qos=") else set()
    return [
        f"{kind} {name} lets {count} of your jobs into the queue at a time; the others wait: set jobs: {count}"
        for (kind, name), count in most.items()
        if (kind, name) in used and (jobs is None or jobs > count)
    ]


def _bill(asked: Sequence[Request], jobs_at_once: int | None) -> str:
    """Return what the first attempts ask for together."""
    first = [each for each in asked if each["attempt"] == 1]
    chains = sum(each["count"] for each in first if each["name"].startswith("chain "))
    with_gpu = [each for each in first if each["gpus"]]
    hours = sum(each["count"] * each["gpus"] * each["minutes"] for each in with_gpu) / 60
    used = sum(each["count"] * each["gpus"] * each["seconds"] for each in with_gpu) / 3600
    cores = sum(each["count"] * each["minutes"] for each in first if not each["gpus"]) / 60
    jobs, gpus = sum(each["count"] for each in first), min(jobs_at_once or MANY, count_gpus()) if with_gpu else 0
    wall = f", about {used / gpus:.1f} h on {gpus} GPUs" if gpus else ""
    with_them = f"{hours:.0f} GPU hours, of which {used:.0f} are expected to be used{wall}"
    return f"asked for: {jobs} jobs, {chains} of them chains; {with_them}; {cores:.0f} hours of jobs without a GPU"


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
