import os
import time

import pytest

from spatial_reduction.cluster.plugin_commands import Job, Run
from spatial_reduction.cluster.status import in_words, show_status

BENCHMARK = "s\th:m:s\n{seconds}\t0\n"


@pytest.fixture
def run(tmp_path):
    """An arm `a` of three iterations whose first one is that of `base`, two seeds, nothing done."""
    names = ("results", "logs", "benchmarks", "slurm")
    for name in names:
        (tmp_path / name).mkdir()
    chains = [
        {"arm": arm, "threshold": threshold, "seed": seed, "iterations": iterations, "first": "base"}
        for arm, threshold, iterations in (("base", "100", 1), ("a", "50", 3))
        for seed in ("1", "2")
    ]

    def write(path, text=""):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        return tmp_path / path

    return write, lambda: show_status(chains, {name: tmp_path / name for name in names})


def test_a_run_that_has_not_begun_waits(run):
    _, status = run
    assert status().splitlines() == [
        "arm   top %  seed 1   seed 2",
        "base  100    waiting  waiting",
        "a     50     waiting  waiting",
        "",
        "4 chains: 0 done, 0 running, 4 waiting, 0 failed",
        "time left: not known before a training has ended",
    ]


def test_a_table_of_all_states_with_the_reason_of_a_failure_and_the_time_left(run):
    write, status = run
    for seed in (1, 2):
        write(f"results/base/top_100/seed_{seed}/iteration_1/model.safetensors")
    write("results/base/top_100/seed_1/metrics.csv")
    write("results/a/top_50/seed_1/iteration_2/model.safetensors")
    write("results/a/top_50/seed_1/iteration_3/.model.safetensors.writer")
    write("logs/compute_saliency/a/top_50/seed_2/iteration_2.log", "hello\nerror: disk full\n")
    for rule, seconds in (("compute_saliency", 10), ("shrink_mask", 20), ("train_model", 570), ("evaluate_model", 30)):
        write(f"benchmarks/{rule}/x.tsv", BENCHMARK.format(seconds=seconds))
    said = status()
    assert "base  100    done         trained, not evaluated" in said
    assert "a     50     running 2/3  failed 1/3" in said
    assert "failed: a, top 50 %, seed 2: error: disk full (" in said
    assert "4 chains: 1 done, 1 running, 0 waiting, 1 trained, not evaluated, 1 failed" in said
    assert "time left: about 11 min to train and evaluate 2 chains, 1 at a time as now; " in said  # 600 + 30 s, 30 s
    assert said.endswith("then tables, figures and report, which this does not count")


def finish(write, seeds=(1, 2)):
    for seed in seeds:
        write(f"results/base/top_100/seed_{seed}/metrics.csv")
        write(f"results/a/top_50/seed_{seed}/metrics.csv")


def test_with_all_chains_done_the_report_is_left_until_it_is_there(run):
    write, status = run
    finish(write)
    assert status().endswith(
        "time left: all chains have ended; tables, figures and report are left, which take minutes"
    )
    report = write("results/report.html")
    os.utime(report, (0, 0))  # that of fewer seeds
    assert "tables, figures and report are left" in status()
    os.utime(report, (time.time() + 1, time.time() + 1))
    assert status().splitlines()[-1] == f"nothing is left: {report} is there"


def test_while_no_job_is_seen_the_estimate_says_that_it_supposes_one_at_a_time(run):
    write, status = run
    finish(write, [1])
    write("benchmarks/train_single_pass/x.tsv", BENCHMARK.format(seconds=600))
    # base of one iteration, and a of three, of 10 minutes each
    assert (
        "time left: about 40 min to train and evaluate 2 chains, one at a time, as none is seen running; " in status()
    )


def test_what_failed_alone_is_left(run):
    write, status = run
    finish(write, [1])
    for arm in ("base/top_100", "a/top_50"):
        write(f"logs/evaluate_model/{arm}/seed_2.log", "error: disk full\n")
    assert status().endswith("time left: not known; what failed has to run again")


def test_a_lock_that_nobody_touched_for_long_is_no_running_job(run):
    write, status = run
    lock = write("results/a/top_50/seed_1/iteration_2/.model.safetensors.writer")
    os.utime(lock, (time.time() - 1000, time.time() - 1000))
    assert "0 running" in status()


def test_what_slurm_ended_without_a_log_of_its_own_has_failed(run, tmp_path):
    write, status = run
    record = Run(tmp_path / "slurm")
    record.add(
        Job("3", "rule_a-top_50-seed_1_compute_saliency", write("slurm-3.log", "srun: x\nNo module named torch\n"))
    )
    record.end("3", "FAILED")
    assert "failed: a, top 50 %, seed 1: No module named torch" in status()


@pytest.mark.parametrize(
    ("seconds", "words"), [(20, "1 min"), (3540, "59 min"), (5400, "1 h 30 min"), (3600 * 50, "2 days 2 h")]
)
def test_times_are_told_in_their_two_largest_units(seconds, words):
    assert in_words(seconds) == words
