"""The workflow on a cluster as large sites have it, as an ordinary user of it (see cluster.py)."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from experiments import ROOT, await_that, run_snakemake, start_snakemake, two_arms
from fault_injection import disk_of_2_mb, fill
from slurm.cluster import missing_commands, start, stop
from slurm.test_slurm import jobs_of
from spatial_reduction.data.synthetic_pets import draw_synthetic_pets

MISSING = missing_commands(managed=True)
pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(bool(MISSING), reason=f"no cluster with accounting here: {', '.join(MISSING)} not there"),
]

PROFILE = ["--workflow-profile", str(ROOT / "profiles/slurm"), "--slurm-init-seconds-before-status-checks", "1"]
PROFILE += ["--set-threads", "train_model=1", "train_single_pass=1", "prepare_dataset=1"]
CHAIN = "results/demo/saliency/top_50/seed_{seed}"
LONG = two_arms(training={"epochs": 400, "device": "cpu"})
TABLE = f"{CHAIN.format(seed=1)}/metrics.csv"


def python_for_all():
    """Return the Python that an ordinary user can run the workflow with, and the environment that it needs."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    for python, more in ((sys.executable, {}), ("/usr/bin/python3", {"PYTHONPATH": packages})):
        try_it = f"exec {python} -c 'import snakemake, torch'"
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh", "-c", try_it]
        if shutil.which(python) and subprocess.run(command, env=os.environ | more, capture_output=True).returncode == 0:
            return python, more
    pytest.skip("no Python here that an ordinary user can run")


class Managed:
    """A running cluster, and what its user alice asks of it."""

    def __init__(self, folder):
        self.folder = folder
        self.python, more = python_for_all()
        self.environment = start(folder, managed=True) | more | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp"}
        self.prefix = ["setpriv", "--reuid=alice", "--regid=alice", "--init-groups"]

    def ask(self, *command):
        """Ask as the administrator."""
        return subprocess.check_output(command, env=self.environment, text=True)

    def submit(self, *arguments):
        """Submit a job of alice beside snakemake; return its number."""
        command = [*self.prefix, "sbatch", "--parsable", "--output=/dev/null", *arguments]
        return subprocess.check_output(command, env=self.environment, text=True, cwd="/").strip()

    def jobs(self, comment="rule_"):
        return jobs_of(self.ask("scontrol", "show", "jobs", "--oneliner"), comment)

    def job(self, number):
        return next(job for job in self.jobs("") if job["JobId"] == number)

    def running(self, comment):
        return next((job["JobId"] for job in self.jobs(comment) if job["JobState"] == "RUNNING"), None)

    def options(self, overrides):
        return {
            "overrides": overrides,
            "environment": self.environment,
            "prefix": self.prefix,
            "python": self.python,
        }


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    try:
        yield Managed(folder)
    finally:
        stop(folder)
        shutil.rmtree(folder)


@pytest.fixture
def home(cluster):
    """A folder of alice, from which she submits; her jobs are cancelled in the end."""
    folder = Path(tempfile.mkdtemp(prefix="alice-"))
    shutil.chown(folder, "alice", "alice")
    yield folder
    record = folder / ".snakemake/slurm/pid"  # of a run that a failed test left
    left = record.read_text() if record.exists() else "none"
    with suppress(FileNotFoundError):
        if str(folder) in Path(f"/proc/{left}/cmdline").read_text():
            os.kill(int(left), signal.SIGKILL)
    cluster.ask("scancel", "--user=alice")
    await_that(lambda: not cluster.ask("squeue", "--noheader", "--user=alice").strip())
    shutil.rmtree(folder)


def in_partition(name, **more):
    """Return the arguments with which all jobs go to a partition, small enough to run side by side."""
    more = {"slurm_partition": name, "mem_mb": 1000, "runtime": 5} | more
    small = [f"{rule}:mem_mb=2000*attempt" for rule in ("train_single_pass", "train_model", "compute_saliency")]
    small += [f"{rule}:runtime=5" for rule in ("train_single_pass", "train_model", "prepare_dataset", "evaluate_model")]
    return ["--default-resources", *(f"{key}={value}" for key, value in more.items()), "--set-resources", *small]


def numbers_of(run, comment):
    """Return the jobs that a run submitted for a comment, as its record says."""
    lines = (run / ".snakemake/slurm/jobs.tsv").read_text().splitlines()
    return [number for number, what, _ in (line.split("\t") for line in lines) if what.startswith(comment)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The bytes of TABLE, computed on this machine."""
    folder = tmp_path_factory.mktemp("local")
    done = run_snakemake(folder, TABLE, overrides=LONG)
    assert done.returncode == 0, done.stderr
    return (folder / TABLE).read_bytes()


@pytest.mark.slow
def test_jobs_that_are_cancelled_and_preempted_and_a_terminal_that_closes_change_no_number(cluster, home, table):
    run = start_snakemake(home, TABLE, *PROFILE, *in_partition("scavenge"), **cluster.options(LONG))
    first, chain = "rule_single_pass-top_100-seed_1", "rule_saliency-top_50-seed_1"
    await_that(
        lambda: (home / "results/demo/single_pass/top_100/seed_1/iteration_1/checkpoint.safetensors").exists(), run
    )
    cancelled = cluster.running(first)
    cluster.ask("scancel", cancelled)
    await_that(lambda: len(numbers_of(home, first)) == 2, run)
    run.send_signal(signal.SIGHUP)  # the terminal closes

    await_that(lambda: (home / CHAIN.format(seed=1) / "iteration_2/checkpoint.safetensors").exists(), run)
    preempted = cluster.running(chain)
    cluster.submit("--partition=urgent", "--cpus-per-task=4", "--time=1", "--wrap=sleep 5")
    await_that(lambda: cluster.jobs(chain)[0]["JobState"] == "PREEMPTED", run)
    run.wait(timeout=300)
    said = (home / "stderr.txt").read_text() + (home / "logs/slurm/snakemake.log").read_text()
    assert run.returncode == 0, said

    assert (home / TABLE).read_bytes() == table
    assert cluster.job(cancelled)["JobState"] == "CANCELLED"
    job = cluster.job(preempted)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert job["MinMemoryNode"] == "4000M"  # as at the first attempt
    assert numbers_of(home, chain) == [preempted]
    assert f"job {preempted} was taken off its node (PREEMPTED)" in said
    assert "resuming after epoch" in (home / "logs/demo/train_model/saliency/top_50/seed_1/iteration_2.log").read_text()


@pytest.mark.slow
def test_a_chain_that_was_submitted_twice_a_requeue_and_ctrl_c_change_no_number(cluster, home, table):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs hand on that they ignore it
    wanted = [TABLE, *PROFILE, *in_partition("again")]
    run = start_snakemake(home, *wanted, **cluster.options(LONG))
    chain = "rule_saliency-top_50-seed_1"
    checkpoint = home / CHAIN.format(seed=1) / "iteration_2/checkpoint.safetensors"
    await_that(checkpoint.exists, run)
    known = cluster.running(chain)
    cluster.ask("scancel", "--signal=STOP", known)  # it would end before its twin is seen
    script = cluster.folder / "script"
    cluster.ask("scontrol", "write", "batch_script", known, str(script))
    path = f"{home}/.snakemake/slurm/bin:{cluster.environment['PATH']}"  # as the job has it
    request = ["--partition=again", "--mem=2000", f"--chdir={home}", f"--export=ALL,PATH={path}"]
    request.append(f"--comment={cluster.job(known)['Comment']}")
    twin = cluster.submit(*request, f"--output={home}/twin.log", str(script))
    told = f"job {twin} was taken although sbatch failed; {known} does the same: cancelled"
    await_that(lambda: told in (home / "stderr.txt").read_text(), run)
    await_that(lambda: cluster.job(twin)["JobState"] == "CANCELLED", run)
    assert f"Slurm job {known} on " in (home / "twin.log").read_text()
    cluster.ask("scancel", "--signal=CONT", known)

    cluster.submit("--partition=urgent", "--cpus-per-task=4", "--time=1", "--wrap=sleep 5")
    await_that(lambda: cluster.running(chain) is None, run)
    await_that(lambda: cluster.running(chain) == known, run)
    run.send_signal(signal.SIGINT)
    run.wait(timeout=120)
    assert run.returncode == 1
    await_that(lambda: not cluster.ask("squeue", "--noheader", "--user=alice").strip())
    job = cluster.job(known)
    assert (job["JobState"], job["Restarts"]) == ("CANCELLED", "1")

    done = run_snakemake(home, *wanted, **cluster.options(LONG))
    assert done.returncode == 0, done.stderr
    assert (home / TABLE).read_bytes() == table


@pytest.mark.slow
def test_a_full_disk_is_told_and_not_tried_again_until_there_is_room(cluster, home):
    wanted = ["results/demo/dataset.h5", *PROFILE, *in_partition("cpu")]
    with disk_of_2_mb(home / "results"):
        shutil.chown(home / "results", "alice", "alice")
        filler = fill(home / "results")
        failed = run_snakemake(home, *wanted, **cluster.options(LONG))
        assert failed.returncode == 1
        assert len(numbers_of(home, "rule_draw_synthetic_pets")) == 1
        told = "is not sent again, as it would fail in the same way: error: results/demo/synthetic_pets: No space"
        assert f"Slurm: rule_draw_synthetic_pets {told} left on device; " in failed.stderr
        filler.unlink()
        done = run_snakemake(home, *wanted, **cluster.options(LONG))
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_controller_that_stands_still_and_a_full_queue_cost_no_attempt_and_double_no_job(cluster, home):
    overrides = two_arms(seeds=[1, 2, 3, 4, 5, 6], training={"device": "cpu"})
    models = [
        f"results/demo/single_pass/top_100/seed_{seed}/iteration_1/model.safetensors" for seed in overrides["seeds"]
    ]
    arguments = in_partition("cpu", qos="few")
    run = start_snakemake(home, *models, *PROFILE, *arguments, "--retries", "0", **cluster.options(overrides))
    await_that(lambda: (home / "results/demo/intact_mask.h5").exists(), run)
    controller = int((cluster.folder / "slurmctld.started").read_text())
    await_that(lambda: numbers_of(home, "rule_single_pass"), run)
    os.kill(controller, signal.SIGSTOP)
    time.sleep(25)
    os.kill(controller, signal.SIGCONT)
    run.wait(timeout=300)
    said = (home / "stderr.txt").read_text()
    assert run.returncode == 0, said
    assert [seed for seed in overrides["seeds"] if not (home / models[seed - 1]).exists()] == []
    comments = [
        job["Comment"] for job in cluster.jobs() if job["WorkDir"] == str(home) and job["JobState"] == "COMPLETED"
    ]
    assert sorted(comments) == sorted(set(comments))
    assert "the controller does not answer" in said
    assert "QOSMaxSubmitJobPerUserLimit" in said


@pytest.mark.slow
def test_what_slurm_never_starts_and_what_never_succeeds_is_told_and_sent_once(cluster, home):
    overrides = two_arms(seeds=[1], training={"device": "cpu"})
    wanted = ["results/demo/dataset.h5", *PROFILE]
    options = cluster.options(overrides)
    starved = run_snakemake(home, *wanted, *in_partition("cpu", constraint="nowhere"), **options)
    assert starved.returncode == 1
    assert (
        "Slurm: refused rule_draw_synthetic_pets: Batch job submission failed: Invalid feature specification"
        in starved.stderr
    )

    # The limit is lowered while the run goes on, so that the request is not cut to it.
    limits = home / ".snakemake/slurm/limits.json"
    limits.unlink()
    run = start_snakemake(home, *wanted, *in_partition("cpu", runtime=60), **options)
    await_that(lambda: limits.exists() and "cpu" in limits.read_text(), run)
    cluster.ask("scontrol", "update", "partition=cpu", "MaxTime=30")
    try:
        begun = time.monotonic()
        await_that(lambda: "PartitionTimeLimit" in (home / "stderr.txt").read_text(), run)
        assert time.monotonic() - begun < 60
        run.wait(timeout=240)
    finally:
        cluster.ask("scontrol", "update", "partition=cpu", "MaxTime=120")
    said = (home / "stderr.txt").read_text()
    assert run.returncode == 1
    assert len(numbers_of(home, "rule_draw_synthetic_pets")) == 1
    assert re.search(r"Slurm can never start job \d+ \(rule_draw_synthetic_pets\): PartitionTimeLimit", said)

    draw_synthetic_pets(home / "raw", images=24, side=32, test_share=50, seed=0)
    picture = sorted((home / "raw/images").iterdir())[0]
    picture.write_bytes(picture.read_bytes()[:100])
    data = overrides["dataset"] | {"root": str(home / "raw"), "source": "oxford_pet"}
    broken = overrides | {"dataset": data}
    failed = run_snakemake(home, *wanted, *in_partition("cpu"), **cluster.options(broken))
    assert failed.returncode == 1
    assert len(numbers_of(home, "rule_prepare_dataset")) == 1
    assert "Slurm: rule_prepare_dataset is not sent again, as it would fail in the same way: error:" in failed.stderr


@pytest.mark.slow
def test_a_chain_that_asks_for_more_than_the_partition_allows_asks_for_what_it_allows(cluster, home):
    overrides = two_arms(training={"device": "cpu"})
    arguments = in_partition("short", runtime=60)
    done = run_snakemake(home, "results/demo/dataset.h5", *PROFILE, *arguments, **cluster.options(overrides))
    assert done.returncode == 0, done.stderr
    job = cluster.jobs("rule_draw_synthetic_pets")[-1]
    assert job["TimeLimit"] == "00:02:00"
    assert "rule_draw_synthetic_pets would ask for -t 60; it asks for the 2 allowed" in done.stderr


@pytest.mark.slow
def test_the_profile_that_is_written_for_the_cluster_is_ready_and_typical_mistakes_are_named(cluster, home):
    overrides = two_arms(seeds=[1, 2, 3, 4], training={"device": "cpu"})
    options = cluster.options(overrides)
    written = run_snakemake(home, "set_up_site", **options)
    assert written.returncode == 0, written.stderr
    assert "partition gpu: 120 minutes, GPUs a node: 2 a100, 2 v100, 4 cores, 16000 MB" in written.stderr
    assert "scavenge" not in (home / "profiles/site/partitions.yaml").read_text()
    assert "Slurm accepts -A lab -p " in written.stderr
    assert "-p members" not in written.stderr
    assert re.search(r"asked for: \d+ jobs, 8 of them chains; 0 GPU hours", written.stderr)
    assert written.stderr.count("\nready\n") == 1
    assert f"\nnow: sbatch {home}/profiles/site/driver.sh\n" in written.stderr

    driver = cluster.submit(str(home / "profiles/site/driver.sh"), "results/demo/dataset.h5")
    await_that(lambda: cluster.job(driver)["JobState"] == "COMPLETED")
    assert (home / "results/demo/dataset.h5").exists()
    made = [job["JobState"] for job in cluster.jobs("rule_prepare_dataset") if job["WorkDir"] == str(home)]
    assert made == ["COMPLETED"]

    mistakes = {
        "render_examples:slurm_partition=nowhere": "invalid partition specified: nowhere",
        "draw_synthetic_pets:qos=nope": "Invalid qos specification",
        "write_intact_mask:slurm_partition=members": "User's group not permitted to use this partition",
        "prepare_dataset:constraint=nowhere": "Invalid feature specification",
        "compare_arms:runtime=500": r"tail: asks for minutes [56]\d\d, and 120 is the most that partition gpu allows",
        "train_model:slurm_partition=cpu": "chain saliency: its jobs travel together and disagree on slurm_partition: ",
    }
    arguments = ["--default-resources", "slurm_partition=gpu", "mem_mb=2000", "runtime=5", "at_once=1"]
    refused = run_snakemake(home, "preflight", *PROFILE, *arguments, "--set-resources", *mistakes, **options)
    assert refused.returncode == 1
    for what in mistakes.values():
        assert re.search(what, refused.stderr), (what, refused.stderr)
    arguments = ["--default-resources", "slurm_account=guests", "mem_mb=2000", "runtime=20", "qos=brief", "at_once=1"]
    arguments += ["--set-resources", "write_intact_mask:mem_mb=90000"]
    refused = run_snakemake(home, "preflight", *PROFILE, *arguments, **options)
    assert "Invalid account or account/partition combination" in refused.stderr
    assert "and 10 is the most that account guests or QOS brief allows" in refused.stderr
    assert "memory in MB 90000, and 16000 is the most" in refused.stderr


@pytest.mark.slow
def test_what_a_node_lacks_is_told_in_its_words(cluster, home):
    options = cluster.options(two_arms())
    small = [*PROFILE, "--default-resources", "slurm_partition=gpu", "mem_mb=2000", "runtime=4", "--retries", "0"]
    share = ["--set-resources", "check_node:gpu=0", "check_node:gres=shard:1"]
    without = run_snakemake(home, "preflight", *small, *share, **options)
    assert without.returncode == 1
    assert re.search("error: n1: a GPU was asked for, and torch .* sees none", without.stderr)
    (cluster.folder / "job_environment").write_text("export PYTHONHOME=/nowhere\n")
    try:
        blind = run_snakemake(home, "preflight", *small, **options)
    finally:
        (cluster.folder / "job_environment").unlink()
    assert blind.returncode == 1
    assert re.search(r"Slurm: job \d+ \(rule_check_node\) ended as FAILED: .*encodings", blind.stderr), blind.stderr
