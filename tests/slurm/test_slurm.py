"""The workflow on a real Slurm: a private cluster of two nodes (see cluster.py)."""

import re
import signal
import subprocess
import time

import pytest

from experiments import ROOT, await_that, run_snakemake, start_snakemake, two_arms
from slurm.cluster import crash_node, missing_commands, restart_controller, start, start_node, stop

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(bool(missing_commands()), reason=f"Slurm is not installed: no {', '.join(missing_commands())}"),
]

SEEDS = (1, 2)
TWO_ARMS = two_arms(seeds=list(SEEDS), training={"epochs": 800, "device": "cpu"})
CHAINS = {seed: f"results/demo/saliency/top_50/seed_{seed}" for seed in SEEDS}
TABLES = [f"{chain}/{name}" for chain in CHAINS.values() for name in ("metrics.csv", "iteration_2/kept_pixels.csv")]
EXAMPLES = f"{CHAINS[1]}/examples.h5"
GPU_RULES = {"train_single_pass", "train_model", "compute_saliency", "evaluate_model", "render_examples"}
PROFILE = ["--workflow-profile", str(ROOT / "profiles/slurm"), "--slurm-init-seconds-before-status-checks", "1"]
PROFILE += ["--slurm-status-command", "squeue", "--slurm-no-account"]
PROFILE += ["--set-threads", "train_model=1", "train_single_pass=1", "prepare_dataset=1"]
LARGE = [f"{rule}:mem_mb=9000" for rule in ("train_single_pass", "train_model")]  # one to a node
SMALL = ["render_examples:mem_mb=500*attempt"]  # too little at first


class Cluster:
    """A running cluster, and what its users ask of it."""

    def __init__(self, folder):
        self.folder, self.environment = folder, start(folder)

    def ask(self, *command):
        return subprocess.check_output(command, env=self.environment, text=True)

    def jobs(self, comment):
        return jobs_of(self.ask("scontrol", "show", "jobs", "--oneliner"), comment)

    def running(self, comment):
        return next(job for job in reversed(self.jobs(comment)) if job["JobState"] == "RUNNING")


def jobs_of(answer, comment):
    """Return the jobs whose comment begins so, each as {field: value}, oldest first."""
    found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in answer.splitlines()]
    return [job for job in found if job.get("Comment", "").startswith(comment)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    try:
        yield Cluster(folder)
    finally:
        stop(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of the same experiment, computed on this machine."""
    folder = tmp_path_factory.mktemp("local")
    done = run_snakemake(folder, *TABLES, EXAMPLES, overrides=TWO_ARMS)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_run_through_every_fault_of_a_cluster_ends_with_the_same_numbers(cluster, undisturbed, tmp_path):
    arguments = [*TABLES, EXAMPLES, *PROFILE, "--set-resources", *LARGE, *SMALL]
    arguments += [f"{rule}:gpu=1" for rule in sorted(GPU_RULES)]
    options = {"overrides": TWO_ARMS, "environment": cluster.environment}

    def is_training(iteration, seed, since=0.0):
        arm = "single_pass/top_100" if iteration == 1 else "saliency/top_50"
        checkpoint = tmp_path / f"results/demo/{arm}/seed_{seed}/iteration_{iteration}/checkpoint.safetensors"
        return lambda: checkpoint.exists() and checkpoint.stat().st_mtime > since

    run = start_snakemake(tmp_path, *arguments, **options)
    await_that(is_training(1, seed=1), run)
    restart_controller(cluster.folder, cluster.environment)
    requeued = cluster.running("rule_single_pass-top_100-seed_1")["JobId"]
    cluster.ask("scontrol", "requeue", requeued)

    # snakemake itself is killed: its jobs live on, and a second run beside them is refused.
    await_that(lambda: any(is_training(2, seed)() for seed in SEEDS), run)
    run.send_signal(signal.SIGKILL)
    run.wait(timeout=30)
    live = [job["JobId"] for job in cluster.jobs("rule_") if job["JobState"] == "RUNNING"]
    cluster.ask("scancel", "--signal=STOP", *live)  # they wait for the assertions
    assert run_snakemake(tmp_path, "--unlock", **options).returncode == 0
    refused = run_snakemake(tmp_path, *arguments, **options)
    assert refused.returncode != 0
    assert "two runs must not write the same files" in refused.stderr
    assert set(re.search(r"scancel ([\d ]+)", refused.stderr)[1].split()) == set(live)
    cluster.ask("scancel", *live)
    await_that(lambda: not cluster.ask("squeue", "-h", "--me").strip())

    begun = time.time()
    run = start_snakemake(tmp_path, *arguments, **options)
    await_that(lambda: any(is_training(2, seed, begun)() for seed in SEEDS), run)
    one, other = sorted(SEEDS, key=lambda seed: is_training(2, seed, begun)(), reverse=True)
    cancelled = cluster.running(f"rule_saliency-top_50-seed_{one}")["JobId"]
    cluster.ask("scancel", cancelled)
    await_that(is_training(2, other, begun), run)
    crashed = cluster.running(f"rule_saliency-top_50-seed_{other}")
    cluster.ask("scancel", "--signal=STOP", crashed["JobId"])  # it would end before its node crashes
    crash_node(cluster.folder, crashed["NodeList"])
    await_that(lambda: "down" in cluster.ask("sinfo", "-h", "-n", crashed["NodeList"], "-o", "%t"), run)
    start_node(cluster.folder, cluster.environment, crashed["NodeList"])
    run.wait(timeout=400)
    errors = (tmp_path / "stderr.txt").read_text()
    assert run.returncode == 0, errors

    for table in TABLES:
        assert (tmp_path / table).read_bytes() == (undisturbed / table).read_bytes()
    jobs = {job["JobId"]: job for job in cluster.jobs("rule_")}
    ended = "CANCELLED" if requeued in live else "COMPLETED"  # on a busy machine it may still have run at the kill
    assert (jobs[requeued]["JobState"], jobs[requeued]["Restarts"]) == (ended, "1")
    assert jobs[cancelled]["JobState"] == "CANCELLED"
    assert re.search(rf"log: \S+/logs/slurm/group_saliency-top_50-seed_{one}_\w+/{cancelled}\.log", errors)
    assert int(jobs[crashed["JobId"]]["Restarts"]) >= 1
    for log in (
        "train_single_pass/single_pass/seed_1",
        *(f"train_model/saliency/top_50/seed_{s}/iteration_2" for s in SEEDS),
    ):
        assert "resuming after epoch" in (tmp_path / f"logs/demo/{log}.log").read_text()
    starved, fed = cluster.jobs("rule_render_examples")
    assert (starved["JobState"], starved["MinMemoryNode"]) == ("FAILED", "500M")
    assert (fed["JobState"], fed["MinMemoryNode"]) == ("COMPLETED", "1000M")
    with_gpu = {job["Comment"] for job in jobs.values() if "gpu" in job.get("TresPerJob", "")}
    assert {re.match("rule_([a-z_]+?)(_wildcards.*|-top.*|)$", comment)[1] for comment in with_gpu} == {
        "single_pass",
        "render_examples",
        "saliency",
    }


def test_preflight_names_a_refused_request_and_a_gpu_that_is_not_there(cluster, tmp_path):
    options = {"overrides": TWO_ARMS | {"training": {"epochs": 1}}, "environment": cluster.environment}
    before = len(cluster.jobs("rule_"))
    once = [*PROFILE, "--retries", "0"]
    partition = ["--set-resources", "render_examples:slurm_partition=nowhere"]
    refused = run_snakemake(tmp_path, "preflight", *once, *partition, **options)
    assert refused.returncode != 0
    assert "Slurm refuses the jobs of render_examples" in refused.stderr
    assert "invalid partition specified: nowhere" in refused.stderr
    assert len(cluster.jobs("rule_")) == before
    without = run_snakemake(tmp_path, "preflight", *PROFILE, **options)
    assert without.returncode != 0
    assert "--mem 8000 --requeue --cpus-per-task=1 --signal=TERM@30 --gpus=1 (chain saliency)" in without.stderr
    assert "chain saliency at attempt 4" in without.stderr
    assert "would ask for memory in MB 32000, and 16000 is the most" in without.stderr
    assert "error: n1: a GPU was asked for" in without.stderr
