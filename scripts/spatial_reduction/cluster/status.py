"""Which chains have ended, run, wait or failed, and how long the rest takes: seen from the files of a run."""

import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spatial_reduction.cluster.costs import read_benchmarks
from spatial_reduction.cluster.plugin_commands import ACTIVE, Run, last_words
from spatial_reduction.runtime.errors import FINAL
from spatial_reduction.runtime.plain_text import counted

SECONDS_OF_A_SIGN = 120  # a job touches the lock of what it writes every 15 s
TRAINED = "trained, not evaluated"
STEPS = ("compute_saliency", "shrink_mask", "train_model")  # of an iteration after the first


@dataclass(frozen=True)
class Chain:
    """A chain of the plan: `first` is the arm whose iteration 1 it starts from."""

    arm: str
    threshold: str
    seed: str
    iterations: int
    first: str


@dataclass(frozen=True)
class Folders:
    """Where a run keeps what tells of it; `slurm` is the record of its Slurm jobs."""

    results: Path
    logs: Path
    benchmarks: Path
    slurm: Path


@dataclass(frozen=True)
class State:
    """How far a chain is: `word` is done, running, waiting, TRAINED or failed; `why` the last line of what failed."""

    word: str
    ended: int
    why: str = ""


def show_status(chains: Iterable[Mapping[str, str | int]], folders: Mapping[str, str]) -> str:
    """Return a table of arms by seeds, what failed and why, and an estimate of the time left."""
    places = Folders(**{name: Path(path) for name, path in folders.items()})
    jobs, queue = Run(places.slurm), _queue(places.slurm)
    plan = [Chain(**each) for each in chains]
    states = {chain: state_of(chain, places, jobs, queue) for chain in plan}
    return "\n".join([*_table(states), "", *_failures(states), _counts(states), _time_left(states, places)])


def state_of(chain: Chain, folders: Folders, jobs: Run, queue: Mapping[str, str]) -> State:
    """Return how far one chain is."""
    own = folders.results / chain.arm / f"top_{chain.threshold}" / f"seed_{chain.seed}"
    first = folders.results / chain.first / "top_100" / f"seed_{chain.seed}" / "iteration_1"
    steps = [first, *(own / f"iteration_{i}" for i in range(2, chain.iterations + 1))]
    ended = sum((step / "model.safetensors").exists() for step in steps)
    if (own / "metrics.csv").exists():
        return State("done", chain.iterations)
    places = [own, *steps]
    if any(_is_recent(lock) for place in places for lock in place.glob(".*.writer")):
        return State("running", ended)
    names = [f"rule_{chain.arm}-top_{chain.threshold}-seed_{chain.seed}_"]
    if ended == 0:
        names += [
            f"rule_train_single_pass_wildcards_{chain.first}_{chain.seed}",
            f"rule_{chain.first}-top_100-seed_{chain.seed}_",
        ]
    mine = [job for job in jobs.jobs() if job.comment.startswith(tuple(names)) or job.comment in names]
    if mine and queue.get(mine[-1].number) in ACTIVE:
        return State("waiting" if queue[mine[-1].number] == "PENDING" else "running", ended)
    logs = [folders.logs / rule / chain.arm / f"top_{chain.threshold}" / f"seed_{chain.seed}" for rule in STEPS]
    logs += [folders.logs / "evaluate_model" / chain.arm / f"top_{chain.threshold}" / f"seed_{chain.seed}.log"]
    logs += [folders.logs / "train_single_pass" / chain.first / f"seed_{chain.seed}.log"] if ended == 0 else []
    why = _failure(logs)
    if not why and mine and jobs.ended().get(mine[-1].number, "COMPLETED") != "COMPLETED":
        why = last_words(mine[-1].log)
    if why:
        return State("failed", ended, why)
    return State(TRAINED if ended == chain.iterations else "waiting", ended)


def _failure(places: Sequence[Path]) -> str:
    """Return the last line of the latest log, if it tells of an end before the time."""
    logs = [log for place in places for log in ([place] if place.is_file() else place.glob("*.log"))]
    if not logs:
        return ""
    latest = max(logs, key=lambda log: log.stat().st_mtime)
    lines = [line for line in latest.read_text(errors="replace").splitlines() if line.strip()]
    told = lines[-1] if lines else ""
    is_end = told.startswith((FINAL, "stopped by")) or any(line.startswith("Traceback") for line in lines)
    return f"{told} ({latest})" if is_end else ""


def _is_recent(lock: Path) -> bool:
    try:
        return time.time() - lock.stat().st_mtime < SECONDS_OF_A_SIGN
    except FileNotFoundError:
        return False


def _queue(record: Path) -> dict[str, str]:
    """Return {number: state} of the run's Slurm jobs; {} where nothing was submitted, or Slurm does not answer."""
    numbers = [job.number for job in Run(record).jobs()]
    if not numbers:
        return {}
    command = ["squeue", "--noheader", "--me", "--format=%i|%T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("|", 1) for line in answer.stdout.splitlines() if "|" in line)


def _table(states: Mapping[Chain, State]) -> list[str]:
    """Return lines: a row for each arm and threshold, a column for each seed."""
    seeds = list(dict.fromkeys(chain.seed for chain in states))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for chain, state in states.items():
        word = (
            state.word
            if state.word in ("done", TRAINED) or (state.word == "waiting" and not state.ended)
            else (f"{state.word} {state.ended}/{chain.iterations}")
        )
        rows.setdefault((chain.arm, chain.threshold), {})[chain.seed] = word
    head = ["arm", "top %", *(f"seed {seed}" for seed in seeds)]
    body = [[*row, *(cells.get(seed, "") for seed in seeds)] for row, cells in rows.items()]
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *body]
    ]


def _failures(states: Mapping[Chain, State]) -> list[str]:
    failed = [(chain, state) for chain, state in states.items() if state.word == "failed"]
    lines = [f"failed: {c.arm}, top {c.threshold} %, seed {c.seed}: {state.why}" for c, state in failed]
    return [*lines, ""] if lines else []


def _counts(states: Mapping[Chain, State]) -> str:
    words = [state.word for state in states.values()]
    told = ["done", "running", "waiting", *([TRAINED] if TRAINED in words else []), "failed"]
    return f"{counted(len(words), 'chain')}: {', '.join(f'{words.count(word)} {word}' for word in told)}"


def _time_left(states: Mapping[Chain, State], folders: Folders) -> str:
    """Return an estimate: the chains left, by the median times of what ended, as many at once as are seen running."""
    open_ones = {chain: state for chain, state in states.items() if state.word in ("running", "waiting", TRAINED)}
    if not open_ones:
        return _after_the_chains(states, folders)
    jobs = read_benchmarks(folders.benchmarks) if folders.benchmarks.exists() else None
    took = {} if jobs is None else jobs.groupby("rule")["seconds"].median().to_dict()
    iteration = sum(took[step] for step in STEPS) if took.keys() >= set(STEPS) else took.get("train_single_pass")
    if iteration is None:
        return "time left: not known before a training has ended"
    left = [(c.iterations - state.ended) * iteration + took.get("evaluate_model", 0) for c, state in open_ones.items()]
    running = sum(state.word == "running" for state in open_ones.values())
    seconds = max(sum(left) / max(1, running), *left)
    lanes = f"{running} at a time as now" if running else "one at a time, as none is seen running"
    what = f"to train and evaluate {counted(len(left), 'chain')}, {lanes}"
    return f"time left: about {in_words(seconds)} {what}; then tables, figures and report, which this does not count"


def _after_the_chains(states: Mapping[Chain, State], folders: Folders) -> str:
    """Say what is left when no chain runs or waits."""
    if any(state.word == "failed" for state in states.values()):
        return "time left: not known; what failed has to run again"
    report = folders.results / "report.html"
    newest = max((_metrics(chain, folders).stat().st_mtime for chain in states), default=0.0)
    if report.exists() and report.stat().st_mtime >= newest:
        return f"nothing is left: {report} is there"
    return "time left: all chains have ended; tables, figures and report are left, which take minutes"


def _metrics(chain: Chain, folders: Folders) -> Path:
    return folders.results / chain.arm / f"top_{chain.threshold}" / f"seed_{chain.seed}" / "metrics.csv"


def in_words(seconds: float) -> str:
    """Return a time in its two largest units."""
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{max(minutes, 1)} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"
