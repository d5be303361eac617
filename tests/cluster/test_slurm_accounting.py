import subprocess
from datetime import datetime

import pandas as pd
import pytest

from spatial_reduction.cluster.slurm_accounting import (
    COLUMNS,
    FIELDS,
    jobs_per_rule,
    parse_accounting,
    slurm_accounting,
)

# Printed by sacct of Slurm 22.05.8 (slurmdbd, AccountingStoreFlags not set); submit lines shortened. In order: a job,
# a group of three rules, and jobs that failed, exceeded their limit, were cancelled while they ran and in the queue.
# The last one wants a limit of its partition; the one before it was not submitted by Snakemake.
SAMPLE = """\
4|COMPLETED|2026-11-23T03:31:51|2026-11-23T03:31:53|16|240|8000M||billing=1,cpu=1,gres/gpu=1,mem=8000M,node=1|/home/run|sbatch --parsable --job-name 5ed0e2b3 --export=ALL --comment rule_train_single_pass_wildcards_single_pass_1 -p gpu -t 240 --mem 8000 --wrap=python -m snakemake
4.batch|COMPLETED|2026-11-23T03:31:51|2026-11-23T03:31:51|16|||140.65M|cpu=1,gres/gpu=1,mem=8000M,node=1||
4.0|COMPLETED|2026-11-23T03:31:55|2026-11-23T03:31:55|10|||710.33M|cpu=1,gres/gpu=1,mem=8000M,node=1||/usr/bin/srun -n1 python -m snakemake
5|COMPLETED|2026-11-23T03:32:25|2026-11-23T03:32:26|42|285|8000M||billing=1,cpu=1,gres/gpu=1,mem=8000M,node=1|/home/run|sbatch --parsable --comment rule_next-top_90-seed_1_compute_saliency_shrink_mask_train_model -p gpu -t 285
5.batch|COMPLETED|2026-11-23T03:32:26|2026-11-23T03:32:26|42|||140.56M|cpu=1,gres/gpu=1,mem=8000M,node=1||
5.0|COMPLETED|2026-11-23T03:32:33|2026-11-23T03:32:33|14|||699.36M|cpu=1,gres/gpu=1,mem=8000M,node=1||/usr/bin/srun -n1
5.1|COMPLETED|2026-11-23T03:32:47|2026-11-23T03:32:47|5|||128.74M|cpu=1,gres/gpu=1,mem=8000M,node=1||/usr/bin/srun -n1
5.2|COMPLETED|2026-11-23T03:32:52|2026-11-23T03:32:52|14|||710.65M|cpu=1,gres/gpu=1,mem=8000M,node=1||/usr/bin/srun -n1
21|FAILED|2026-11-23T03:37:30|2026-11-23T03:37:31|0|525600|200M||billing=2,cpu=2,mem=200M,node=1|/home/run|sbatch --parsable --comment rule_fails --mem-per-cpu 100 --cpus-per-task 2 --wrap echo a | cat; false
21.batch|FAILED|2026-11-23T03:37:31|2026-11-23T03:37:31|0||||cpu=2,mem=200M,node=1||
18|TIMEOUT|2026-11-23T03:37:30|2026-11-23T03:37:30|68|1|100M||billing=1,cpu=1,mem=100M,node=1|/home/run|sbatch --parsable --comment rule_slow_wildcards_a_1 --mem 100 -t 1 --wrap sleep 300
18.batch|CANCELLED|2026-11-23T03:37:30|2026-11-23T03:37:30|68|||3.07M|cpu=1,mem=100M,node=1||
23|CANCELLED by 0|2026-11-23T03:37:30|2026-11-23T03:37:31|2|5|100M||billing=1,cpu=1,mem=100M,node=1|/home/run|sbatch --parsable --comment rule_slow_wildcards_a_2 --mem 100 -t 5 --wrap sleep 100
23.batch|CANCELLED|2026-11-23T03:37:31|2026-11-23T03:37:31|2|||3.12M|cpu=1,mem=100M,node=1||
19|CANCELLED by 0|2026-11-23T03:37:30|2026-11-23T03:37:30|0|5|100M|||/home/run|sbatch --parsable --comment rule_held --mem-per-cpu 100 -t 5 --wrap sleep 1
24|COMPLETED|2026-11-23T03:39:30|2026-11-23T03:39:30|9|5|100M||billing=1,cpu=1,mem=100M,node=1|/home/run|sbatch another.sh
20|PENDING|2026-11-23T03:37:30|Unknown|0|Partition_Limit|200M|||/elsewhere|sbatch --parsable --comment rule_held --mem-per-cpu 100 --cpus-per-task 2 --wrap true
"""  # noqa: E501


@pytest.fixture
def jobs():
    return parse_accounting(SAMPLE).set_index("rule")


def test_a_job_of_accounting_is_named_by_its_rule_or_group(jobs):
    group = "next"
    assert list(jobs.index) == ["train_single_pass", group, "fails", "slow", "slow", "held", "held"]
    train = jobs.loc["train_single_pass"]
    assert (train["wait_s"], train["elapsed_s"], train["limit_s"], train["gpus"]) == (2, 16, 240 * 60, 1)
    assert list(jobs["folder"].unique()) == ["/home/run", "/elsewhere"]


def test_memory_is_that_of_snakemake_and_of_the_largest_step(jobs):
    assert jobs.loc["train_single_pass", "memory_mb"] == pytest.approx(140.65 + 710.33)
    assert jobs.loc["next", "memory_mb"] == pytest.approx(140.56 + 710.65)
    assert jobs.loc["fails", ["memory_mb", "memory_requested_mb"]].isna().tolist() == [True, False]


def test_a_job_that_never_started_has_not_waited_for_its_start(jobs):
    assert jobs.loc["held", "wait_s"].isna().all()
    assert jobs.loc["held", "limit_s"].tolist()[0] == 300
    assert jobs.loc["held", "limit_s"].isna().tolist() == [False, True]


def test_jobs_of_a_rule_are_one_row():
    table = jobs_per_rule(parse_accounting(SAMPLE)).set_index("rule")
    assert list(table.reset_index().columns) == COLUMNS
    slow = table.loc["slow"]
    assert (slow["jobs"], slow["states"]) == (2, "1 TIMEOUT, 1 CANCELLED")
    assert (slow["wait_median_s"], slow["elapsed_median_s"], slow["elapsed_max_s"], slow["limit_s"]) == (
        0.5,
        35,
        68,
        300,
    )
    assert (slow["memory_max_mb"], slow["memory_requested_mb"], slow["gpus"]) == (3.12, 100, 0)


@pytest.mark.parametrize("text", ["", "\n", "Slurm accounting storage is disabled\n", "4|COMPLETED|2026\n"])
def test_lines_that_are_no_jobs_are_left_out(text):
    table = jobs_per_rule(parse_accounting(text))
    assert table.empty
    assert list(table.columns) == COLUMNS


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (None, "this machine has no sacct"),
        ("echo Slurm accounting storage is disabled >&2; exit 1", "Slurm accounting storage is disabled"),
        ("true", "sacct knows none from"),
    ],
)
def test_without_accounting_there_is_no_row_and_one_line_says_why(program, reason, tmp_path, monkeypatch, capsys):
    if program:
        (tmp_path / "sacct").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / ".snakemake/slurm").mkdir(parents=True)
    table = slurm_accounting(tmp_path, datetime(2026, 11, 22))
    assert table.empty
    assert list(table.columns) == COLUMNS
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"no accounting of Slurm jobs: {reason}")


def test_sacct_is_not_asked_where_nothing_went_to_slurm(tmp_path, monkeypatch, capsys):
    (tmp_path / "sacct").write_text("#!/bin/sh\ntouch asked\nexit 1\n")
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    assert list(slurm_accounting(tmp_path, datetime(2026, 11, 22)).columns) == COLUMNS
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "asked").exists()


def test_sacct_is_asked_for_the_jobs_of_this_folder(tmp_path, monkeypatch):
    asked = []

    def answer(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, SAMPLE.replace("/home/run", str(tmp_path)), "")

    monkeypatch.setattr(subprocess, "run", answer)
    (tmp_path / ".snakemake/slurm").mkdir(parents=True)
    table = slurm_accounting(tmp_path, datetime(2026, 11, 22, 3))
    assert asked[0][:4] == ["sacct", "--parsable2", "--noheader", "--units=M"]
    assert asked[0][4:] == ["--starttime=2026-11-22T03:00:00", f"--format={','.join(FIELDS)}"]
    assert pd.Series(table["jobs"].values, table["rule"])["held"] == 1
