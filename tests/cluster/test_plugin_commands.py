import subprocess

import pytest

from spatial_reduction.cluster import plugin_commands
from spatial_reduction.cluster.plugin_commands import Job, Run, install, last_words, submit, tell_states

ARGUMENTS = ["--parsable", "--job-name", "run", "--output", "log/%j.log", "--comment", "rule_a", "-p", "gpu"]
ARGUMENTS += ["-t", "60", "--mem", "4000", "--wrap=true"]
LIMITS = {"partition": {"gpu": 120}, "memory": {"gpu": 16000}, "account": {}, "qos": {"brief": 10}}
FULL = "QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
LATE = "Batch job submission failed: Socket timed out on send/recv operation"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder of programs that answer as Slurm's do; `tell(name, script)` writes one, which may count its calls."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugin_commands, "SECONDS_UNTIL_NEXT_TRY", 0.01)
    monkeypatch.setattr(plugin_commands, "SECONDS_TO_SHOW_UP", 0.01)
    programs = tmp_path / "slurm"
    programs.mkdir()

    def tell(name, *answers):
        """Let the program give one answer a call, the last one again and again."""
        cases = "".join(f"{number}) {answer};;\n" for number, answer in enumerate(answers, 1))
        counted = f'echo "$@" >> {programs}/{name}.calls; n=$(wc -l < {programs}/{name}.calls)'
        counted += f"; [ $n -gt {len(answers)} ] && n={len(answers)}"
        (programs / name).write_text(f"#!/bin/bash\n{counted}\ncase $n in\n{cases}esac\n")
        (programs / name).chmod(0o755)
        return str(programs / name)

    tell("squeue", "true")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    install(tmp_path / "run", None, LIMITS)
    return tell


def calls(tmp_path, name):
    path = tmp_path / "slurm" / f"{name}.calls"
    return path.read_text().splitlines() if path.exists() else []


def refuse(words):
    return f'echo "sbatch: error: {words}" >&2; exit 1'


@pytest.mark.parametrize("words", [FULL, "Resource temporarily unavailable"])
def test_a_full_queue_is_waited_for_and_told_once(slurm, tmp_path, capsys, words):
    sbatch = slurm("sbatch", refuse(words), refuse(words), "echo 7")
    assert submit(str(tmp_path / "run"), sbatch, *ARGUMENTS) == 0
    assert capsys.readouterr().out == "7\n"
    run = Run(tmp_path / "run")
    assert run.jobs() == [Job("7", "rule_a", tmp_path / "log/7.log")]
    assert len(run.notes()) == 1


def test_a_job_that_the_controller_took_while_it_did_not_answer_is_not_sent_again(slurm, tmp_path, capsys):
    sbatch = slurm("sbatch", refuse(LATE), "echo 9")
    slurm("squeue", "exit 1", "printf '7|COMPLETED|rule_b\\n8|PENDING|rule_a\\n'")
    assert submit(str(tmp_path / "run"), sbatch, *ARGUMENTS) == 0
    assert capsys.readouterr().out == "8\n"
    assert len(calls(tmp_path, "sbatch")) == 1


def test_a_job_that_it_did_not_take_is_sent_again_and_an_earlier_attempt_is_not_taken_for_it(slurm, tmp_path, capsys):
    run = Run(tmp_path / "run")
    run.add(Job("6", "rule_a", tmp_path / "log/6.log"))
    sbatch = slurm("sbatch", refuse(LATE), "echo 9")
    slurm("squeue", "printf '6|TIMEOUT|rule_a\\n'")
    assert submit(str(tmp_path / "run"), sbatch, *ARGUMENTS) == 0
    assert capsys.readouterr().out == "9\n"
    assert [job.number for job in run.jobs()] == ["6", "9"]


def test_a_refusal_that_no_wait_mends_is_told_with_sbatchs_words(slurm, tmp_path, capsys):
    sbatch = slurm("sbatch", refuse("Memory specification can not be satisfied"))
    assert submit(str(tmp_path / "run"), sbatch, *ARGUMENTS) == 1
    assert "Memory specification can not be satisfied" in capsys.readouterr().err
    assert Run(tmp_path / "run").notes() == ["refused rule_a: Memory specification can not be satisfied"]


@pytest.mark.parametrize(
    ("log", "is_sent"),
    [
        ("some lines\nerror: dataset.root: nowhere is not a folder\nShutting down\n", False),
        ("srun: error: n1: task 0: Killed\n", True),
        ("stopped by SIGTERM (time limit, preemption, requeue or scancel); run again, it goes on where it was\n", True),
        ("Traceback (most recent call last):\nMemoryError\n", True),
    ],
)
def test_an_error_that_a_repetition_would_meet_again_is_not_repeated(slurm, tmp_path, log, is_sent):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/6.log").write_text(log)
    Run(tmp_path / "run").add(Job("6", "rule_a", tmp_path / "log/6.log"))
    assert submit(str(tmp_path / "run"), slurm("sbatch", "echo 7"), *ARGUMENTS) == (0 if is_sent else 1)
    assert len(calls(tmp_path, "sbatch")) == is_sent


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"-t": "960"}, "-t 120 --mem 4000"),
        ({"--mem": "32000"}, "-t 60 --mem 16000"),
        ({"-p": "other", "-t": "960", "--mem": "32000"}, "-t 960 --mem 32000"),
        ({"--wrap=true": "--qos=brief"}, "-t 10 --mem 4000"),
    ],
)
def test_a_request_is_cut_to_what_is_allowed(slurm, tmp_path, asked, sent):
    arguments = [asked.get(before, option) for before, option in zip(["", *ARGUMENTS], ARGUMENTS, strict=False)]
    arguments = [asked.get(option, option) if option.startswith("--wrap") else option for option in arguments]
    assert submit(str(tmp_path / "run"), slurm("sbatch", "echo 7"), *arguments) == 0
    assert sent in calls(tmp_path, "sbatch")[0]


def states(tmp_path, capsys, command="squeue"):
    arguments = ["--format=%i|%T", "--states=all", "--noheader", "--name", "run"]
    status = tell_states(str(tmp_path / "run"), str(tmp_path / "slurm" / command), *arguments)
    return status, dict(line.split("|") for line in capsys.readouterr().out.splitlines())


def test_every_end_is_one_that_the_plugin_knows(slurm, tmp_path, capsys):
    slurm("squeue", "printf '1|RUNNING\\n2|COMPLETED\\n3|LAUNCH_FAILED\\n4|CANCELLED\\n5|TIMEOUT\\n'")
    expected = {"1": "RUNNING", "2": "COMPLETED", "3": "FAILED", "4": "CANCELLED", "5": "TIMEOUT"}
    assert states(tmp_path, capsys) == (0, expected)
    slurm("squeue", "printf '1|RUNNING\\n'")  # what has ended is remembered when the controller forgets it
    assert states(tmp_path, capsys) == (0, expected)


def test_a_preempted_job_goes_back_into_the_queue_under_its_number(slurm, tmp_path, capsys):
    slurm("squeue", "printf '1|PREEMPTED\\n2|NODE_FAIL\\n'")
    slurm("scontrol", "exit 0", "exit 1")
    assert states(tmp_path, capsys) == (0, {"1": "PENDING", "2": "FAILED"})
    assert calls(tmp_path, "scontrol") == ["requeue 1", "requeue 2"]


@pytest.mark.parametrize(
    ("sacct", "state"), [("echo '1|CANCELLED by 1000'", "CANCELLED"), ("exit 1", "COMPLETED"), ("true", "COMPLETED")]
)
def test_a_job_that_the_controller_forgot_is_asked_of_the_accounting_or_judged_by_its_outputs(
    slurm, tmp_path, capsys, sacct, state
):
    Run(tmp_path / "run").add(Job("1", "rule_a", tmp_path / "log/1.log"))
    slurm("sacct", sacct)
    assert states(tmp_path, capsys) == (0, {"1": state})


def test_a_controller_that_does_not_answer_ends_no_job(slurm, tmp_path, capsys):
    Run(tmp_path / "run").add(Job("1", "rule_a", tmp_path / "log/1.log"))
    slurm("squeue", "exit 1")
    assert states(tmp_path, capsys) == (1, {})


def test_any_other_question_reaches_slurm(slurm, tmp_path):
    slurm("sacct", "echo of slurm")
    install(tmp_path / "other", "/etc/a b.conf", LIMITS)
    shim = tmp_path / "other/bin/sacct"
    assert subprocess.check_output([shim, "--helpformat"], text=True) == "of slurm\n"
    assert "export SLURM_CONF='/etc/a b.conf'" in shim.read_text()


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("[Thu] Error in rule a:\nerror: no such key\nExiting because a job execution failed.\n", "error: no such key"),
        ("/bin/sh: 4: /nowhere/python: not found\nsrun: error: n1\n", "/bin/sh: 4: /nowhere/python: not found"),
        ("slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 2026 DUE TO TIME LIMIT ***\n", "DUE TO TIME LIMIT"),
        ("", "its log is empty"),
    ],
)
def test_the_last_words_of_a_job_are_the_line_that_says_why(tmp_path, log, words):
    (tmp_path / "log").write_text(log)
    assert words in last_words(tmp_path / "log")


def test_a_job_without_a_log_could_not_write(tmp_path):
    assert "left no log" in last_words(tmp_path / "none")
