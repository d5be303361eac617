"""Run what is compared in turn (A B A B ...), each in a process of its own that stays; print ratios and spread."""

import atexit
import multiprocessing
import os
import pickle
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Run = Callable[[], float | None]  # returns what it measured, or None to be timed
Build = Callable[..., Mapping[str, Run]]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what is compared with what.
        ours: what was measured in each alternation, in `unit`.
        ratios: of each alternation.
        goal: ("at least" or "at most", bound) for the median ratio; None where nothing is aimed at.
        limit: what share of the machine's limit was reached.
    """

    name: str
    ours: Sequence[float]
    unit: str
    ratios: Sequence[float]
    goal: tuple[str, float] | None = None
    limit: str = ""

    @property
    def verdict(self) -> str:
        """Return the goal and whether it is met."""
        if self.goal is None:
            return ""
        way, bound = self.goal
        ratio = statistics.median(self.ratios)
        is_met = ratio >= bound if way == "at least" else ratio <= bound
        return f"{way} {bound:g}: {'met' if is_met else 'missed'}"


class Worker:
    """A process that builds named runs once and then measures them when asked.

    Settings of a process (threads, allocator) so stay those of one contender. What is run in turn in one worker
    shares them.
    """

    def __init__(self, build: Build, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, build, arguments))
        self.process.start()
        atexit.register(self.connection.close)  # if this process fails, the worker ends
        self._receive()

    def start(self, name: str) -> None:
        """Begin a run."""
        self.connection.send(name)

    def finish(self) -> float:
        """Return what the run that was started measured."""
        return self._receive()

    def measure(self, name: str) -> float:
        """Run one of the runs; return what it measured."""
        self.start(name)
        return self.finish()

    def close(self) -> None:
        """End the process."""
        self.connection.send(None)
        self.process.join()

    def _receive(self) -> float:
        is_right, answer = self.connection.recv()
        if not is_right:
            raise RuntimeError(answer)
        return answer


def alternate(
    runs: Mapping[str, Callable[[], float]], alternations: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Run all in turn, so many times; return what each measured. A first turn is not counted."""
    if warm_up:
        for run in runs.values():
            run()
    turns = [{name: run() for name, run in runs.items()} for _ in range(alternations)]
    return {name: [turn[name] for turn in turns] for name in runs}


def divide(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each alternation."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return "median (min to max)"."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def print_rows(rows: Iterable[Row]) -> None:
    """Print rows as a Markdown table, each when it is there."""
    print("| what | ours | ratio: median (min to max) | n | goal | share of the limit |\n|---|---|---|---|---|---|")
    for row in rows:
        ours = f"{statistics.median(row.ours):.4g} {row.unit}"
        print(
            f"| {row.name} | {ours} | {spread(row.ratios)} | {len(row.ratios)} | {row.verdict} | {row.limit} |",
            flush=True,
        )


def run_fresh(function: str, arguments: Mapping[str, Any]) -> tuple[float, float]:
    """Call a function in a fresh process, see `peak`; return the seconds of the call and the peak memory in bytes."""
    command = [sys.executable, str(Path(__file__).with_name("peak.py")), function]
    process = subprocess.run(command, input=pickle.dumps(arguments), capture_output=True, check=True)
    seconds, peak = process.stdout.split()[-2:]
    return float(seconds), float(peak)


def _serve(connection: Connection, build: Build, arguments: Sequence[Any]) -> None:
    """Build the runs; answer (whether it went well, what was measured or why not) to every name until None comes."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (for as long as the process lives)
    try:
        runs = build(*arguments)
        connection.send((True, 0.0))
        while name := connection.recv():
            connection.send((True, _seconds_of(runs[name])))
    except EOFError:
        return  # nobody asks any more
    except Exception:
        connection.send((False, traceback.format_exc()))


def _seconds_of(run: Run) -> float:
    begun = time.perf_counter()
    measured = run()
    return time.perf_counter() - begun if measured is None else measured
