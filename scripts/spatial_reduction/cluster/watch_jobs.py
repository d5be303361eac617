"""Beside a running snakemake: tell what its plugin keeps to itself, and end what can never start."""

import getpass
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

from spatial_reduction.cluster.plugin_commands import ACTIVE, Run
from spatial_reduction.runtime.errors import FINAL

# Why a job pends that will never start: a limit for single jobs, or something that does not exist for its user.
NEVER = re.compile(
    r"PartitionTimeLimit|PartitionNodeLimit|BadConstraints|PerJob|PerNode|QOSMin|InvalidAccount|InvalidQOS"
    r"|AccountNotAllowed|QOSNotAllowed|DependencyNeverSatisfied|AssociationJobLimit.*Wall"
)
# Why it pends until a person does something.
HELD = re.compile(r"JobHeld|held|PartitionDown|PartitionInactive|ReqNodeNotAvail|ReservationDeleted")
SECONDS_BETWEEN_LOOKS = 20
LOOKS_WITHOUT_ANSWER = 3


class Watcher(threading.Thread):
    """Print the notes of a run as they come, and look at its jobs in the queue every 20 s."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(daemon=True, name="slurm_watcher")
        self.run_files = Run(Path(folder))
        self.unanswered = 0

    def run(self) -> None:
        """Watch until the process ends."""
        told, next_look = 0, time.monotonic()
        while True:
            if time.monotonic() >= next_look:
                self.look()
                next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
            notes = self.run_files.notes()
            for line in notes[told:]:
                print(f"Slurm: {line}", file=sys.stderr, flush=True)
            told = len(notes)
            time.sleep(1)

    def look(self) -> None:
        """Ask for this user's jobs; note what never starts and cancel it, and cancel jobs that were taken twice."""
        jobs = {job.number: job for job in self.run_files.jobs()}
        ask = ["squeue", "--noheader", "--user", getpass.getuser(), "--format=%i|%T|%V|%r|%k"]
        answer = subprocess.run(ask, capture_output=True, text=True, check=False)
        if answer.returncode:
            self.unanswered += 1
            if self.unanswered == LOOKS_WITHOUT_ANSWER:
                words = " ".join(answer.stderr.split())[:200]
                self.run_files.note(f"no answer since {time.strftime('%H:%M')} ({words}); jobs go on, so this waits")
            return
        self.unanswered = 0
        rows = [line.split("|", 4) for line in answer.stdout.splitlines()]
        active = {number for number, state, *_ in rows if state in ACTIVE}
        for number, state, submitted, reason, comment in rows:
            if number in jobs and state == "PENDING" and NEVER.search(reason):
                self._end(number, comment, reason)
            elif number in jobs and state == "PENDING" and HELD.search(reason):
                self.run_files.note(f"job {number} ({comment}) waits: {reason}")
            twins = {job.number for job in jobs.values() if job.comment == comment} & active
            if number not in jobs and number in active and twins and _seconds_since(submitted) > 60:
                self.run_files.note(
                    f"job {number} was taken although sbatch failed; {min(twins)} does the same: cancelled"
                )
                subprocess.run(["scancel", number], capture_output=True, check=False)

    def _end(self, number: str, comment: str, reason: str) -> None:
        what = f"Slurm can never start job {number} ({comment}): {reason}; it is cancelled and not sent again"
        self.run_files.note(what)
        job = next(job for job in self.run_files.jobs() if job.number == number)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with open(job.log, "a") as log:  # where the next attempt looks for what the last one said
            log.write(f"{FINAL}{what}\n")
        subprocess.run(["scancel", number], capture_output=True, check=False)


def _seconds_since(submitted: str) -> float:
    return time.time() - time.mktime(time.strptime(submitted, "%Y-%m-%dT%H:%M:%S"))
