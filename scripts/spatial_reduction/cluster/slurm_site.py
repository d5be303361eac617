"""What Slurm says of itself: partitions and their GPUs, accounts, QOS, and the limits of who asks. No Snakemake."""

import getpass
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spatial_reduction.runtime.errors import InputError

SECONDS_TO_ANSWER = 60


@dataclass(frozen=True)
class Partition:
    """A partition.

    Attributes:
        minutes: its MaxTime; None: no limit.
        gpus: the most of each kind on one node, {model: count}; the model is "" where GPUs have no type.
        shares: the kinds of shares of a GPU, of `shard` and `mps`.
        cores, memory_mb: the most of one node.
        is_preempted: whether jobs of others may take its jobs off their nodes.
    """

    name: str
    minutes: int | None
    is_default: bool
    is_up: bool
    is_preempted: bool
    groups: tuple[str, ...]
    accounts: tuple[str, ...]
    gpus: dict[str, int]
    shares: tuple[str, ...]
    cores: int
    memory_mb: int


@dataclass(frozen=True)
class Rights:
    """What the accounting lets this user do.

    Attributes:
        groups: of the user, on this machine.
        accounts: that the user may charge, the default first; empty without accounting.
        qos: that the user may use, the default first.
        minutes: the longest job, {"account": {name: minutes}, "qos": {name: minutes}}; without a limit, no entry.
        jobs: the most jobs in the queue at a time, likewise.
    """

    groups: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    qos: tuple[str, ...] = ()
    minutes: dict[str, dict[str, int]] | None = None
    jobs: dict[str, dict[str, int]] | None = None


def read_partitions() -> list[Partition]:
    """Return the partitions that Slurm shows to this user.

    Raises:
        InputError: Slurm does not answer.
    """
    nodes = [line.split("|") for line in ask("sinfo", "--noheader", "--Node", "--format=%R|%G|%c|%m").splitlines()]
    found = []
    for line in ask("scontrol", "--oneliner", "show", "partition").splitlines():
        fields = dict(re.findall(r"(\S+?)=(\S*)", line))
        name = fields["PartitionName"]
        own = [node for node in nodes if node[0] == name]
        gpus: dict[str, int] = {}
        for _, gres, *_ in own:
            for model, count in re.findall(r"(?:^|,)gpu(?::([^:,(]+(?=:\d)))?:(\d+)", gres):
                gpus[model] = max(gpus.get(model, 0), int(count))
        shares = {kind for _, gres, *_ in own for kind in re.findall(r"(?:^|,)(shard|mps)\b", gres)}
        found.append(
            Partition(
                name=name,
                minutes=minutes_of(fields["MaxTime"]),
                is_default=fields["Default"] == "YES",
                is_up=fields["State"] == "UP",
                is_preempted=fields.get("PreemptMode", "OFF") not in ("OFF", "(null)"),
                groups=_names(fields["AllowGroups"]),
                accounts=_names(fields["AllowAccounts"]),
                gpus=gpus,
                shares=tuple(sorted(shares)),
                cores=max((int(cores.rstrip("+")) for _, _, cores, _ in own), default=0),
                memory_mb=max((int(memory.rstrip("+")) for *_, memory in own), default=0),
            )
        )
    return found


def count_gpus() -> int:
    """Return the GPUs of all nodes that Slurm shows to this user."""
    nodes = dict(line.split("|") for line in ask("sinfo", "--noheader", "--Node", "--format=%N|%G").splitlines())
    return sum(
        int(count) for gres in nodes.values() for count in re.findall(r"(?:^|,)gpu(?::[^:,(]+(?=:\d))?:(\d+)", gres)
    )


def read_rights() -> Rights:
    """Return what the accounting lets this user do; nothing is known without accounting."""
    own = ["user", getpass.getuser(), "withassoc"]
    rows = _accounting("show", *own, "format=account,qos,defaultqos,defaultaccount,maxwall,maxsubmit")
    limits = _accounting("show", "qos", "format=name,maxwall,maxsubmitpu,maxsubmitpa")
    groups = tuple(ask("id", "-Gn").split())
    if not rows:
        return Rights(groups)
    accounts, qos = [], []
    minutes: dict[str, dict[str, int]] = {"account": {}, "qos": {}}
    jobs: dict[str, dict[str, int]] = {"account": {}, "qos": {}}
    for account, names, default, default_account, wall, most in rows:
        accounts.insert(0 if account == default_account else len(accounts), account)
        qos += [name for name in [default, *names.split(",")] if name and name not in qos]
        _enter(minutes["account"], account, minutes_of(wall))
        _enter(jobs["account"], account, _count(most))
    for name, wall, *most in limits:
        _enter(minutes["qos"], name, minutes_of(wall))
        _enter(jobs["qos"], name, min(filter(None, map(_count, most)), default=None))
    return Rights(groups, tuple(dict.fromkeys(accounts)), tuple(qos), minutes, jobs)


def read_limits() -> dict[str, dict[str, int]]:
    """Return the longest job in minutes, {"partition": {name: minutes}, "account": ..., "qos": ...}; no entry: any.

    The name "" stands for the default partition, account and QOS. `memory` has the MB of a partition's largest node.
    """
    partitions, rights = read_partitions(), read_rights()
    limits: dict[str, dict[str, int]] = {"partition": {}, "memory": {}} | (rights.minutes or {"account": {}, "qos": {}})
    for each in partitions:
        for name in [each.name, *([""] if each.is_default else [])]:
            _enter(limits["partition"], name, each.minutes)
            _enter(limits["memory"], name, each.memory_mb)
    for kind, names in (("account", rights.accounts), ("qos", rights.qos)):
        if names:
            _enter(limits[kind], "", limits[kind].get(names[0]))
    return limits


def most_allowed(limits: Mapping[str, Mapping[str, int]], given: Mapping[str, str]) -> dict[str, int]:
    """Return the most that a job may ask for, {"-t": minutes, "--mem": MB}; what has no limit is left out.

    Args:
        limits: as `read_limits` returns them.
        given: its options of sbatch, of which -p (partitions, comma-separated), -A and --qos count.
    """
    partitions = given.get("-p", "").split(",")
    others = [limits[kind].get(given.get(option, "")) for kind, option in (("account", "-A"), ("qos", "--qos"))]
    minutes, memory = (_largest(limits[kind].get(name) for name in partitions) for kind in ("partition", "memory"))
    minutes = min(filter(None, [minutes, *others]), default=None)
    return {option: most for option, most in (("-t", minutes), ("--mem", memory)) if most is not None}


def _largest(values: Iterable[int | None]) -> int | None:
    values = list(values)
    return None if None in values else max(values)


def minutes_of(time: str) -> int | None:
    """Return the whole minutes of a time limit as Slurm prints it, [days-]hours:minutes:seconds; None: no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", time)
    if not found:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return 60 * (24 * days + hours) + minutes


def ask(*command: str) -> str:
    """Return what a Slurm command prints.

    Raises:
        InputError: it is not there, refuses, or does not answer.
    """
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_TO_ANSWER)
    except FileNotFoundError as error:
        raise InputError(f"{command[0]} is not on this machine; run this where jobs are submitted") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{command[0]} does not answer within {SECONDS_TO_ANSWER} s; try again later") from error
    if answer.returncode:
        raise InputError(f"{' '.join(command)}: {answer.stderr.strip()}")
    return answer.stdout


def _accounting(*question: str) -> list[list[str]]:
    try:
        lines = ask("sacctmgr", "--noheader", "--parsable2", *question).splitlines()
    except InputError:
        return []
    return [line.split("|") for line in lines]


def _names(text: str) -> tuple[str, ...]:
    return () if text in ("ALL", "(null)") else tuple(text.split(","))


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _enter(table: dict[str, int], name: str, value: int | None) -> None:
    if value is not None:
        table[name] = min(value, table.get(name, value))
