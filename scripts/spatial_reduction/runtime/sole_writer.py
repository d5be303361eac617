"""One job at a time writes an output: a lock beside it that names the job and does not outlive it. No torch.

A controller that answers late can start one job twice, and a node that seemed dead can come back. Where another job
holds the lock, this one waits; once that job is gone, it takes the lock over and goes on at what is there.
"""

import atexit
import json
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spatial_reduction.runtime.log import say

SECONDS_BETWEEN_BEATS = 15
SECONDS_WITHOUT_BEAT = 120  # after which a holder on another machine counts as gone, if Slurm cannot tell
SECONDS_BETWEEN_LOOKS = 2
ACTIVE = {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STOPPED"}


@contextmanager
def sole_writer(path: str | Path) -> Iterator[None]:
    """Run the body while no other job runs one for `path`; wait for that job to end first.

    A holder touches its lock every 15 s. If it finds that another job took it over meanwhile (it was suspended, or cut
    off from the file system), it stops as if by SIGTERM, before it writes anything more.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, own = path.with_name(f".{path.name}.writer"), _myself()
    told = False
    while not _claim(lock, own):
        holder = _read(lock)
        if holder and _is_gone(holder, own, lock):
            _remove(lock, holder)
        elif holder:
            if not told:
                say(f"{path}: {_named(holder)} writes it; this job waits until that one has ended")
            told = True
            time.sleep(SECONDS_BETWEEN_LOOKS)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(lock, own, ended), daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        _remove(lock, own)


def hold_results(folder: str | Path) -> str | None:
    """Let this process be the one run that writes a folder of results, until it ends; return who is it instead, if any.

    A run that was killed holds nothing: the next one takes over.
    """
    lock, own = Path(folder) / ".run", _myself() | {"folder": os.getcwd()}
    lock.parent.mkdir(parents=True, exist_ok=True)
    while not _claim(lock, own):
        holder = _read(lock)
        if holder and not _is_gone(holder, own, lock):
            return f"{_named(holder)}, started in {holder['folder']}"
        if holder:
            _remove(lock, holder)
    ended = threading.Event()
    threading.Thread(target=_beat, args=(lock, own, ended), daemon=True).start()
    atexit.register(lambda: (ended.set(), _remove(lock, own)))
    return None


def _myself() -> dict[str, Any]:
    job = os.environ.get("SLURM_JOB_ID")
    return {"host": platform.node(), "pid": os.getpid(), "begun": _begun(os.getpid()), "job": job, "at": time.time_ns()}


def _claim(lock: Path, own: Mapping[str, Any]) -> bool:
    """Create the lock, whole and only if there is none; network file systems keep this promise for links."""
    draft = lock.with_name(f"{lock.name}-{own['host']}-{own['pid']}")
    draft.write_text(json.dumps(own))
    try:
        os.link(draft, lock)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _read(lock: Path) -> dict[str, Any] | None:
    try:
        return json.loads(lock.read_text())
    except FileNotFoundError:
        return None


def _remove(lock: Path, holder: Mapping[str, Any]) -> None:
    """Remove the lock if `holder` still holds it."""
    aside = lock.with_name(f"{lock.name}-{platform.node()}-{os.getpid()}.gone")
    with suppress(FileNotFoundError):
        if _read(lock) != holder:
            return
        lock.rename(aside)
        if _read(aside) != holder:  # another job was faster and holds it now
            with suppress(FileExistsError):
                os.link(aside, lock)
        aside.unlink()


def _beat(lock: Path, own: Mapping[str, Any], ended: threading.Event) -> None:
    while not ended.wait(SECONDS_BETWEEN_BEATS):
        if _read(lock) != own:
            say(f"{lock}: another job took it over while this one stood still")
            os.kill(os.getpid(), signal.SIGTERM)
            return
        with suppress(FileNotFoundError):
            os.utime(lock)


def _is_gone(holder: Mapping[str, Any], own: Mapping[str, Any], lock: Path) -> bool:
    if holder["host"] == own["host"]:
        return _begun(holder["pid"]) != holder["begun"]
    if holder["job"] and holder["job"] == own["job"]:
        return True  # requeued: Slurm has ended its first run
    state = _slurm_state(holder["job"]) if holder["job"] else None
    if state is not None:
        return state not in ACTIVE
    clock = lock.with_name(
        f"{lock.name}-{own['host']}-{own['pid']}.clock"
    )  # of the file server, whatever this host says
    clock.touch()
    try:
        return clock.stat().st_mtime - lock.stat().st_mtime > SECONDS_WITHOUT_BEAT
    except FileNotFoundError:
        return False
    finally:
        clock.unlink()


def _slurm_state(job: str) -> str | None:
    """Return the state of a job, "" for one that Slurm has forgotten, None where it cannot be asked."""
    command = ["squeue", "--noheader", "--jobs", job, "--format=%T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode:
        return "" if "Invalid job id" in answer.stderr else None
    return answer.stdout.strip()


def _begun(pid: int) -> str | None:
    """Return when a process of this machine began, in ticks; None: there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _named(holder: Mapping[str, Any]) -> str:
    job = f"Slurm job {holder['job']}" if holder["job"] else f"process {holder['pid']}"
    return f"{job} on {holder['host']}"
