"""What a run prints: what each job says in a line, and how far the run is, with the time that is left. No rules.

Snakemake's own lines (its log file below `.snakemake/log` keeps them all) come back with `--quiet host` or `--verbose`.
"""

import logging
import re
import time
from collections import Counter, defaultdict

from snakemake_interface_logger_plugins.common import LogEvent

EVERY = 10.0  # seconds between two lines of progress
# What no user can act on, by its beginning.
TALK = ("Select jobs to execute...", "Building DAG of jobs...", "Using shell:", "host: ", "Assuming unrestricted")
TALK += ("Removing temporary output", "Conda environments: ignored", "Singularity containers: ignored")
# What Snakemake says of the process of a job that failed. With status 1 the job itself has said why, above; one that was
# killed has said nothing.
ENDED = re.compile(r"RuleException:\nCalledProcessError in file .*non-zero exit status (\d+)\.", re.DOTALL)
AT_THE_END = "WorkflowError:\nAt least one job did not complete successfully."  # it stands above: "Failed: ..."
KILLED = 128 + 9  # by SIGKILL, as the shell has it
MEMORY = "; the machine may have had too little memory: fewer --cores"


class RunProgress:
    """How long the jobs that are left will take: by the mean time of their rule's finished jobs, side by side as so far.

    A rule that has no finished job yet counts with the mean of all.
    """

    def __init__(self):
        self.rules, self.begun, self.left = {}, {}, Counter()
        self.seconds = defaultdict(list)
        self.start = time.monotonic()

    def add_plan(self, counts):
        """Take the number of jobs of each rule that are to run."""
        self.left = Counter({name: count for name, count in counts.items() if name != "total"})

    def add_job(self, job, name):
        self.rules[job] = name

    def begin(self, jobs):
        self.begun.update(dict.fromkeys(jobs, time.monotonic()))

    def end(self, job):
        if job in self.begun and job in self.rules:
            name = self.rules[job]
            self.seconds[name].append(time.monotonic() - self.begun.pop(job))
            self.left[name] -= 1

    def seconds_left(self):
        """Return the estimate; None before a job has ended."""
        ended = [each for some in self.seconds.values() for each in some]
        if not ended or sum(ended) == 0:
            return None
        overall = sum(ended) / len(ended)
        means = {name: sum(some) / len(some) for name, some in self.seconds.items()}
        work = sum(count * means.get(name, overall) for name, count in self.left.items() if count > 0)
        at_once = max(1.0, sum(ended) / (time.monotonic() - self.start))
        return work / at_once


def in_words(seconds):
    if seconds is None:
        return ""
    if seconds < 90:
        return f", about {max(1, round(seconds))} s left"
    minutes = round(seconds / 60)
    return f", about {minutes} min left" if minutes < 90 else f", about {minutes / 60:.1f} h left"


class Terminal(logging.Filter):
    """Keeps of Snakemake's lines the plan, the errors and every ten seconds one that says how far the run is."""

    def __init__(self):
        super().__init__()
        self.run, self.printed = RunProgress(), 0.0

    def filter(self, record):
        """Return whether a record is printed; its attribute `in_terminal`, if any, is what is printed of it."""
        event, now = getattr(record, "event", None), time.monotonic()
        if event == LogEvent.RUN_INFO:
            self.run.add_plan(record.stats)
        elif event == LogEvent.JOB_INFO:
            self.run.add_job(record.jobid, record.rule_name)
            return False
        elif event == LogEvent.JOB_STARTED:
            self.run.begin(record.jobs)
            return False
        elif event == LogEvent.JOB_FINISHED:
            self.run.end(record.job_id)
            return False
        elif event == LogEvent.PROGRESS:
            is_last = record.done == record.total
            if not is_last and now - self.printed < EVERY:
                return False
            self.printed = now
            left = "" if is_last else in_words(self.run.seconds_left())
            record.in_terminal = f"{record.done} of {record.total} jobs done{left}"
        elif event == LogEvent.JOB_ERROR:
            logs = f"; its log: {', '.join(record.log)}" if record.log else ""
            made = f", which makes {record.output[0]}" if record.output else ""
            record.in_terminal = f"Failed: {record.rule_name}{made}{logs}"
        elif event == LogEvent.ERROR and (ended := ENDED.match(str(record.msg))):
            status = int(ended[1])
            how = f"signal {status - 128}" if status > 128 else f"exit status {status}"
            record.in_terminal = f"The process of a job ended with {how}{MEMORY * (status == KILLED)}"
            return status != 1
        elif event == LogEvent.ERROR and str(record.msg).startswith(AT_THE_END):
            return False
        elif event in (LogEvent.WORKFLOW_STARTED, LogEvent.GROUP_INFO, LogEvent.SHELLCMD, LogEvent.RESOURCES_INFO):
            return False
        return event is not None or not str(record.msg).startswith(TALK)


class TerminalFormatter(logging.Formatter):
    """Prints what `Terminal` found, else what Snakemake prints."""

    def __init__(self, default):
        super().__init__()
        self.default = default

    def format(self, record):
        return getattr(record, "in_terminal", None) or self.default.format(record)


def quieten_terminal():
    """Let a run print as `Terminal` says; a dry run, and one that asks for a quietness of its own, print as ever."""
    settings = workflow.output_settings
    if not workflow.is_main_process or settings.dryrun or settings.quiet or settings.verbose:
        return
    for handler in workflow.logger_manager.logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(Terminal())
            handler.setFormatter(TerminalFormatter(handler.formatter))


quieten_terminal()
