import logging
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from experiments import ROOT


@pytest.fixture
def rules():
    """The functions and classes of terminal.smk, in a run that prints to no terminal."""
    file = ROOT / "workflow/rules/terminal.smk"
    defined = {"workflow": SimpleNamespace(is_main_process=False, output_settings=None)}
    exec(compile(file.read_text(), file, "exec"), defined)
    return defined


def record(message="", event=None, level=logging.INFO, **extra):
    found = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    vars(found).update(extra, event=event)
    return found


@pytest.fixture
def run(rules, monkeypatch):
    """A terminal, and the clock that it reads."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(rules["time"], "monotonic", lambda: clock.now)
    return rules["Terminal"](), clock


def job(terminal, clock, number, name, seconds):
    assert not terminal.filter(record(event=LogEvent.JOB_INFO, jobid=number, rule_name=name))
    assert not terminal.filter(record(event=LogEvent.JOB_STARTED, jobs=[number]))
    clock.now += seconds
    assert not terminal.filter(record(event=LogEvent.JOB_FINISHED, job_id=number))


def test_the_time_left_is_that_of_the_jobs_left_by_their_rule(run):
    terminal, clock = run
    terminal.filter(record(event=LogEvent.RUN_INFO, stats={"train": 3, "plot": 11, "total": 14}))
    job(terminal, clock, 1, "train", 100)
    job(terminal, clock, 2, "plot", 1)
    line = record(event=LogEvent.PROGRESS, done=2, total=14)
    assert terminal.filter(line)
    assert line.in_terminal == "2 of 14 jobs done, about 4 min left"  # 2 x 100 s + 10 x 1 s, one at a time


def test_jobs_that_run_side_by_side_take_half_the_time(run):
    terminal, clock = run
    terminal.filter(record(event=LogEvent.RUN_INFO, stats={"train": 4, "total": 4}))
    for number in (1, 2):
        terminal.filter(record(event=LogEvent.JOB_INFO, jobid=number, rule_name="train"))
    terminal.filter(record(event=LogEvent.JOB_STARTED, jobs=[1, 2]))
    clock.now += 30
    for number in (1, 2):
        terminal.filter(record(event=LogEvent.JOB_FINISHED, job_id=number))
    line = record(event=LogEvent.PROGRESS, done=2, total=4)
    assert terminal.filter(line)
    assert line.in_terminal == "2 of 4 jobs done, about 30 s left"


def test_progress_is_printed_every_ten_seconds_and_at_the_end(run):
    terminal, clock = run
    printed = []
    for done in range(1, 8):
        clock.now += 4
        printed += [done] if terminal.filter(record(event=LogEvent.PROGRESS, done=done, total=7)) else []
    assert printed == [1, 4, 7]


def test_a_failure_is_one_line_that_names_rule_file_and_log(run):
    terminal, _ = run
    line = record(
        "Error in rule train_model, jobid: 3",
        event=LogEvent.JOB_ERROR,
        level=logging.ERROR,
        rule_name="train_model",
        output=["results/model.safetensors"],
        log=["logs/train_model.log"],
    )
    assert terminal.filter(line)
    expected = "Failed: train_model, which makes results/model.safetensors; its log: logs/train_model.log"
    assert line.in_terminal == expected


def test_what_a_job_has_said_of_its_failure_is_not_said_again(run):
    terminal, _ = run
    text = 'RuleException:\nCalledProcessError in file "rules/reduction.smk", line 4:\n'
    text += "Command 'set -euo pipefail;  python train_model.py' returned non-zero exit status {}."
    said = {status: record(text.format(status), event=LogEvent.ERROR, level=logging.ERROR) for status in (1, 137)}
    assert not terminal.filter(said[1])
    assert terminal.filter(said[137])  # killed: the job could say nothing
    assert said[137].in_terminal.startswith(
        "The process of a job ended with signal 9; the machine may have had too little"
    )
    end = "WorkflowError:\nAt least one job did not complete successfully."
    assert not terminal.filter(record(end, event=LogEvent.ERROR, level=logging.ERROR))
    other = 'MissingInputException in rule a in file "Snakefile", line 1:\nMissing input files for rule a'
    assert terminal.filter(record(other, event=LogEvent.ERROR, level=logging.ERROR))


@pytest.mark.parametrize("text", ["Select jobs to execute...", "Removing temporary output a.h5."])
def test_what_nobody_can_act_on_is_not_printed(run, text):
    assert not run[0].filter(record(text))
    assert run[0].filter(record("results/demo/dataset.h5 is missing", level=logging.ERROR))
