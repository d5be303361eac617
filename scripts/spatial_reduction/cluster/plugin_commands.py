"""What stands between Snakemake's Slurm plugin and Slurm's own `sbatch`, `squeue` and `sacct`.

The plugin (2.8.0) takes every failed `sbatch` for a failed job, whether the controller was busy, the queue was full
or the request can never be met; and its status commands miss jobs that were preempted or cancelled. So a running
snakemake finds the commands of this module first on its PATH (`install`). They share a folder of small text files:
what this run submitted (`jobs.tsv`), how its jobs ended (`ended.tsv`), what its user should hear (`notes.txt`, see
`watch_jobs`). Standard library only: they run once per job and status check.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spatial_reduction.cluster.slurm_site import most_allowed
from spatial_reduction.runtime.errors import FINAL

# What sbatch says when it cannot know whether the controller took the job.
UNSURE = re.compile(
    r"timed out|Unable to contact|Zero Bytes|onnection refused|onnection reset|connection failure|not responding"
)
# What it says when the queue takes no more at present. "job submit limit" stands in every refusal by a policy.
FULL = re.compile(r"MaxSubmitJob|GrpSubmitJob|temporarily unable|temporarily unavailable|MaxJobCount")
SECONDS_UNTIL_NEXT_TRY = 15
SECONDS_TO_SHOW_UP = 10  # of a job that the controller took while it did not answer

ACTIVE = {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "REQUEUED", "RESIZING", "SIGNALING"}
ACTIVE |= {"STAGE_OUT", "STOPPED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD"}
# Ended by no fault of its own: back into the queue under the same number, with the same request.
TAKEN_AWAY = {"PREEMPTED", "NODE_FAIL", "BOOT_FAIL"}
FAILURES = {"CANCELLED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}  # those that the plugin knows
# What Snakemake and srun add at the end of every failed job; what a line of the cause looks like.
CHATTER = re.compile(
    r"srun: |slurmstepd: (?!.*(DUE TO|oom))|Exiting because|Complete log|Shutting down"
    r"|\[|Error in |RuleException|\w*Error:$|At least"
)
TELLS = re.compile(
    r"^stopped by|Error\b|No such file|not found|No module|[Kk]illed|DUE TO|ermission denied|[Uu]nable to"
)
SHIM = """#!/bin/sh
{conf}exec {call} "$@"
"""
CALL = "import sys; sys.path.insert(0, {scripts!r}); from spatial_reduction.cluster.plugin_commands import {name}; "
CALL += "sys.exit({name}(*sys.argv[1:]))"


def install(folder: str | Path, slurm_conf: str | None, limits: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Write the commands below `folder`, forget what an earlier run left there; return the environment to run in.

    Args:
        slurm_conf: SLURM_CONF, which the plugin takes out of the environment where snakemake itself runs in a job.
        limits: as `read_limits` returns them; requests are cut to them.
    """
    folder = Path(folder).resolve()
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("jobs.tsv", "ended.tsv", "notes.txt"):
        (folder / name).unlink(missing_ok=True)
    (folder / "pid").write_text(str(os.getpid()))
    (folder / "limits.json").write_text(json.dumps(limits))
    search = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if Path(p).resolve() != folder / "bin")
    scripts = str(Path(__file__).resolve().parents[2])
    for command, function in COMMANDS.items():
        real = _find(command, search)
        if real:
            code = CALL.format(scripts=scripts, name=function)
            python = [sys.executable, "-c", code, str(folder), real]
            call = shlex.join(python if function else [real])
            conf = f"export SLURM_CONF={shlex.quote(slurm_conf)}\n" if slurm_conf else ""
            path = folder / "bin" / command
            path.write_text(SHIM.format(conf=conf, call=call))
            path.chmod(0o755)
    return {"PATH": f"{folder / 'bin'}{os.pathsep}{search}"}


def submit(folder: str, sbatch: str, *arguments: str) -> int:
    """Submit one job, once, whatever the controller does; return the exit status of sbatch.

    Waits as long as the queue is full or the controller does not answer. Refuses a job whose last attempt ended with
    an error that a repetition would meet again.
    """
    run, options = Run(Path(folder)), options_of(arguments)
    if not {"--comment", "--job-name", "--output"} <= options.keys():  # not by the plugin
        os.execv(sbatch, [sbatch, *arguments])
    comment, name = options["--comment"], options["--job-name"]
    final = run.final_words(comment)
    if final:
        told = f"{comment} is not sent again, as it would fail in the same way: {final}"
        run.note(told)
        print(told, file=sys.stderr)
        return 1
    command, script = [sbatch, *run.within_limits(arguments, options)], ""
    if "/dev/stdin" in arguments:
        script = sys.stdin.read()
    while run.goes_on():
        answer = subprocess.run(command, capture_output=True, text=True, check=False, input=script)
        words = " ".join(answer.stderr.split())
        if answer.returncode == 0:
            return _submitted(run, comment, options["--output"], answer.stdout)
        if FULL.search(words):
            run.note(f"the queue takes no more jobs at present, so the others wait ({_short(words)})")
            time.sleep(SECONDS_UNTIL_NEXT_TRY)
        elif UNSURE.search(words):
            run.note(
                f"the controller does not answer; the job may have been taken, so it is looked for ({_short(words)})"
            )
            taken = _taken(run, sbatch, name, comment)
            if taken:
                return _submitted(run, comment, options["--output"], taken)
        else:
            run.note(f"refused {comment}: {_short(words)}")
            print(answer.stderr, file=sys.stderr, end="")
            return answer.returncode
    return 1  # whoever asked is gone


def tell_states(folder: str, command: str, *arguments: str) -> int:
    """Answer the plugin's status question, `NUMBER|STATE` a line; hand any other question to the command itself."""
    run, options = Run(Path(folder)), options_of(arguments)
    if options.get("--format") not in ("%i|%T", "JobIdRaw,State"):
        os.execv(command, [command, *arguments])
    bin_of_slurm = Path(command).parent
    ask = [str(bin_of_slurm / "squeue"), "--noheader", "--states=all", "--format=%i|%T", f"--name={options['--name']}"]
    answer = subprocess.run(ask, capture_output=True, text=True, check=False)
    if answer.returncode:
        print(answer.stderr, file=sys.stderr, end="")
        return answer.returncode
    states = dict(line.split("|", 1) for line in answer.stdout.splitlines())
    ended = run.ended()
    lost = [job.number for job in run.jobs() if job.number not in states and job.number not in ended]
    states |= _accounted(bin_of_slurm / "sacct", lost)
    for number, state in states.items():
        if number not in ended:
            states[number] = _understood(run, str(bin_of_slurm / "scontrol"), number, state)
    for number, state in (states | ended).items():
        print(f"{number}|{state}")
    return 0


# An empty name stands for the command itself, with SLURM_CONF put back.
COMMANDS = {"sbatch": "submit", "squeue": "tell_states", "sacct": "tell_states"}
COMMANDS |= dict.fromkeys(("srun", "scontrol", "sinfo", "scancel", "sacctmgr"), "")


@dataclass(frozen=True)
class Job:
    """A job that this run submitted: its number, its comment (the rule or chain), its Slurm log."""

    number: str
    comment: str
    log: Path


class Run:
    """The files that the commands of one run share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def goes_on(self) -> bool:
        """Return whether the snakemake of this run lives."""
        return Path("/proc", (self.folder / "pid").read_text()).exists()

    def jobs(self) -> list[Job]:
        """Return the jobs of this run, oldest first."""
        return [Job(number, comment, Path(log)) for number, comment, log in self._rows("jobs.tsv", 3)]

    def add(self, job: Job) -> None:
        """Write down a job that Slurm took."""
        self._append("jobs.tsv", job.number, job.comment, str(job.log))

    def ended(self) -> dict[str, str]:
        """Return {number: state} of the jobs that are known to have ended."""
        return dict(self._rows("ended.tsv", 2))

    def end(self, number: str, state: str) -> None:
        """Write down how a job ended; the first word holds."""
        self._append("ended.tsv", number, state)

    def note(self, line: str) -> None:
        """Leave a line for the user, once; `watch_jobs` prints it."""
        if [line] not in self._rows("notes.txt", 1):
            self._append("notes.txt", line)

    def notes(self) -> list[str]:
        """Return the lines left for the user."""
        return [line for (line,) in self._rows("notes.txt", 1)]

    def final_words(self, comment: str) -> str:
        """Return the last error of this rule's or chain's latest job that a repetition would meet again, or ""."""
        jobs = [job for job in self.jobs() if job.comment == comment]
        if not jobs or not jobs[-1].log.exists():
            return ""
        lines = jobs[-1].log.read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.startswith(FINAL)), "")

    def within_limits(self, arguments: Sequence[str], options: Mapping[str, str]) -> list[str]:
        """Return the arguments with no more minutes and memory than partition, account, QOS and nodes allow."""
        limits = json.loads((self.folder / "limits.json").read_text())
        cut = list(arguments)
        for option, most in most_allowed(limits, options).items():
            if option in options and options[option].isdecimal() and int(options[option]) > most:
                cut[cut.index(option) + 1] = str(most)
                self.note(
                    f"{options['--comment']} would ask for {option} {options[option]}; it asks for the {most} allowed"
                )
        return cut

    def _rows(self, name: str, columns: int) -> list[list[str]]:
        path = self.folder / name
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return [line.split("\t") for line in lines if line.count("\t") == columns - 1]

    def _append(self, name: str, *cells: str) -> None:
        row = "\t".join(" ".join(cell.split()) for cell in cells)
        with open(self.folder / name, "a") as file:  # one short write: two commands at a time do not mix
            file.write(f"{row}\n")


def _understood(run: Run, scontrol: str, number: str, state: str) -> str:
    """Return the state as the plugin knows it; a job that was taken away goes back into the queue."""
    state = state.split(" ")[0].rstrip("+")  # CANCELLED by 1000
    if state in ACTIVE:
        return state
    if state in TAKEN_AWAY:
        if subprocess.run([scontrol, "requeue", number], capture_output=True, check=False).returncode == 0:
            run.note(f"job {number} was taken off its node ({state}) and waits in the queue again, as it was")
            return "PENDING"
        state = "FAILED"
    state = state if state == "COMPLETED" or state in FAILURES else "FAILED"
    run.end(number, state)
    if state != "COMPLETED":
        job = next((job for job in run.jobs() if job.number == number), None)
        if job:
            run.note(f"job {number} ({job.comment}) ended as {state}: {last_words(job.log)}")
    return state


def last_words(log: Path) -> str:
    """Return the line of a job's Slurm log that says best why it failed."""
    if not log.exists():
        return f"it left no log, so its node could not write below {log.parent}, or it never started"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    lines = [line for line in lines if not CHATTER.match(line)]
    tell = [line for line in lines if line.startswith(FINAL)] or [line for line in lines if TELLS.search(line)]
    return (tell or lines or ["its log is empty"])[-1][:300]


def _accounted(sacct: Path, numbers: Sequence[str]) -> dict[str, str]:
    """Return {number: state} of jobs that the controller has forgotten.

    Where the accounting does not know them either, their outputs decide: Snakemake looks for them when it hears
    COMPLETED.
    """
    if not numbers:
        return {}
    command = [str(sacct), "--allocations", "--noheader", "--parsable2", "--format=JobIDRaw,State"]
    command.append(f"--jobs={','.join(numbers)}")
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=40).stdout
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    known = dict(line.split("|", 1) for line in answer.splitlines() if "|" in line)
    return {number: known.get(number, "COMPLETED") for number in numbers}


def _taken(run: Run, sbatch: str, name: str, comment: str) -> str:
    """Wait until the controller answers; return the number of the job that it took meanwhile, or ""."""
    command = [str(Path(sbatch).with_name("squeue")), "--noheader", "--states=all", f"--name={name}"]
    command.append("--format=%i|%T|%k")
    answers = 0
    while answers < 2 and run.goes_on():  # what was sent first may be served last
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            known = {job.number for job in run.jobs()}
            rows = [line.split("|", 2) for line in answer.stdout.splitlines()]
            found = [number for number, _, what in rows if what == comment and number not in known]
            if found:
                return min(found, key=int)
            answers += 1
        time.sleep(SECONDS_TO_SHOW_UP)
    return ""


def _submitted(run: Run, comment: str, log: str, answer: str) -> int:
    number = answer.strip().split(";")[0]
    run.add(Job(number, comment, Path(log.replace("%j", number)).absolute()))
    print(answer.strip())
    return 0


def options_of(arguments: Sequence[str]) -> dict[str, str]:
    """Return {option: value} of `--option value`, `--option=value` and `-o value`."""
    found = {}
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument.startswith("--") and "=" in argument:
            option, value = argument.split("=", 1)
            found[option] = value
        elif argument.startswith("-"):
            found[argument] = following
    return found


def _short(words: str) -> str:
    return re.sub(r"sbatch: (error: )?", "", words)[:300]


def _find(command: str, search: str) -> str | None:
    folders = [Path(folder) / command for folder in search.split(os.pathsep)]
    return next((str(path) for path in folders if os.access(path, os.X_OK) and path.is_file()), None)
