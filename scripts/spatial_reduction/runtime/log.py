"""What a job tells its user: the same lines in the terminal and in the job's log file."""

import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO, TypeVar

from tqdm import tqdm

from spatial_reduction.runtime.errors import FINAL, REFUSALS, InputError, refusal
from spatial_reduction.runtime.plain_text import printable

Item = TypeVar("Item")
# What Slurm sends before a time limit, at a preemption, a requeue or an scancel; what batch systems send as a warning;
# Ctrl-C, which the terminal sends to every job as well.
STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Interrupted(BaseException):
    """The job was asked to stop; no `except Exception` on the way holds it up."""


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    for each in STOPPING:  # one is enough
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(signal.Signals(number).name)


class _Tee:
    """A text stream that writes to the terminal and to a log file."""

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self.terminal = terminal
        self.log = log

    def write(self, text: str) -> int:
        if not text.strip(" \r"):  # how a progress line is cleared from a terminal; log files would keep the blanks
            return len(text)
        with suppress(OSError):  # a full disk must not hide what is said of it
            self.log.write(text.replace("\r", ""))
            self.log.flush()
        return self.terminal.write(text)

    def flush(self) -> None:
        self.terminal.flush()


@contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Run a job's body with standard error copied to the log file `path`.

    An `InputError`, a full disk or a folder without permission end the process with exit status 1 and a one-line
    message; any other exception leaves its traceback in the terminal and in the log. SIGTERM, SIGUSR1 and SIGINT end it
    with status 128 + the signal's number after files that were being written are removed: Snakemake counts it as
    failed and runs it again, and a training goes on from its last checkpoint.
    """
    terminal, log = sys.stderr, open(path, "w", encoding="utf-8")  # noqa: SIM115  (a full disk refuses to close it)
    sys.stderr = _Tee(terminal, log)
    before = {number: signal.signal(number, _interrupt) for number in STOPPING}
    try:
        yield
    except Interrupted as stop:
        reason = "Ctrl-C" if str(stop) == "SIGINT" else "time limit, preemption, requeue or scancel"
        say(f"stopped by {stop} ({reason}); run again, it goes on where it was")
        sys.exit(128 + signal.Signals[str(stop)])
    except Exception as error:
        _tell(error)
        sys.exit(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.stderr = terminal
        with suppress(OSError):
            log.close()


def _tell(error: Exception) -> None:
    """Print an error that the user can correct as one line, any other with its traceback."""
    if isinstance(error, InputError):
        say(f"{FINAL}{error}")
    elif isinstance(error, OSError) and error.errno in REFUSALS:
        say(f"{FINAL}{refusal(error.filename or 'a file', error)}")
    else:
        traceback.print_exception(error, file=sys.stderr)


def say(message: str) -> None:
    """Print one line (or several) to standard error, and so to the job's log; a terminal obeys nothing in it."""
    print("\n".join(map(printable, message.split("\n"))), file=sys.stderr)


def progress(items: Iterable[Item], total: int, what: str, unit: str, done: int = 0) -> tqdm:
    """Iterate over `items`, printing one progress line at most every 10 seconds, none for short work.

    Args:
        total: with those that an earlier run did.
        done: of `total`, by an earlier run.
    """
    return tqdm(
        items,
        initial=done,
        desc=what,
        total=total,
        unit=unit,
        mininterval=10,
        miniters=1,  # otherwise a thread prints the last line again
        delay=5,
        leave=False,
        bar_format="{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed} so far, {remaining} left{postfix}\n",
        file=sys.stderr,
    )
