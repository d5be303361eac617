"""The workflow on a real Slurm: a private cluster of two nodes (see cluster.py)."""

import re
import signal
import subprocess
import time

import pytest
from cluster import crash_node, missing_commands, restart_controller, start, start_node, stop

from conftest import ROOT, run_snakemake, start_snakemake

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(bool(missing_commands()), reason=f"Slurm is not installed: no {', '.join(missing_commands())}"),
]

SEEDS = (1, 2, 3)
TINY = {
    "seeds": list(SEEDS),
    "dataset": {"image_size": 16, "synthetic": {"images": 24, "side": 32}},
    "model": {"widths": [2, 4]},
    "training": {"epochs": 250, "batch_size": 4, "device": "cpu"},
    "reduction": {"thresholds": [50], "iterations": 2},
    "arms": {"equal_compute": None, "restarts": None, "random": None, "oracle": None},
    "evaluation": {"comparators": ["single_pass"], "resamples": 100},
    "report": {"images": 2},
}
CHAINS = {seed: f"results/demo/saliency/top_50/seed_{seed}" for seed in SEEDS}
TABLES = [f"{chain}/{name}" for chain in CHAINS.values() for name in ("metrics.csv", "iteration_2/kept_pixels.csv")]
EXAMPLES = f"{CHAINS[1]}/examples.h5"
GPU_RULES = {"train_single_pass", "train_model", "compute_saliency", "evaluate_model", "render_examples"}
PROFILE = ["--workflow-profile", str(ROOT / "profiles/slurm"), "--slurm-init-seconds-before-status-checks", "1"]
PROFILE += ["--slurm-status-command", "squeue", "--slurm-no-account"]
PROFILE += ["--set-threads", "train_model=1", "train_single_pass=1", "prepare_dataset=1"]


class Cluster:
    """A running cluster, and what its users ask of it."""

    def __init__(self, folder):
        self.folder, self.environment = folder, start(folder)

    def ask(self, *command):
        return subprocess.check_output(command, env=self.environment, text=True)

    def jobs(self, comment):
        """Return the jobs whose comment begins so, each as {field: value}, oldest first."""
        lines = self.ask("scontrol", "show", "jobs", "--oneliner").splitlines()
        found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines]
        return [job for job in found if job.get("Comment", "").startswith(comment)]

    def await_job(self, comment):
        while True:
            for job in self.jobs(comment):
                if job["JobState"] == "RUNNING":
                    return job
            time.sleep(0.2)


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
    done = run_snakemake(folder, *TABLES, EXAMPLES, overrides=TINY)
    assert done.returncode == 0, done.stderr
    return folder


def written_since(path, moment):
    return path.exists() and path.stat().st_mtime > moment


def test_a_run_through_every_fault_of_a_cluster_ends_with_the_same_numbers(cluster, undisturbed, tmp_path):
    arguments = [*TABLES, EXAMPLES, *PROFILE, "--set-resources", "render_examples:mem_mb=500*attempt"]
    arguments += [f"{rule}:gpu=1" for rule in sorted(GPU_RULES)]
    options = {"overrides": TINY, "environment": cluster.environment}
    checkpoints = {seed: tmp_path / chain / "iteration_2/checkpoint.safetensors" for seed, chain in CHAINS.items()}

    # snakemake itself is killed: its jobs live on, and a second run beside them is refused.
    first = start_snakemake(tmp_path, *arguments, **options)
    while not checkpoints[1].exists():
        assert first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert run_snakemake(tmp_path, "--unlock", **options).returncode == 0
    refused = run_snakemake(tmp_path, *arguments, **options)
    live = [job["JobId"] for job in cluster.jobs("rule_") if job["JobState"] in ("RUNNING", "PENDING")]
    assert refused.returncode != 0
    assert f"scancel {' '.join(live[:1])}" in refused.stderr
    cluster.ask("scancel", "--user", cluster.ask("id", "-un").strip())

    # The next run: each chain meets its fault while it trains.
    begun = time.time()
    second = start_snakemake(tmp_path, *arguments, **options)
    faults = dict.fromkeys(SEEDS)
    while not all(faults.values()):
        assert second.poll() is None
        for seed in [seed for seed in SEEDS if not faults[seed] and written_since(checkpoints[seed], begun)]:
            faults[seed] = cluster.await_job(f"rule_saliency-top_50-seed_{seed}")
            if seed == 1:
                cluster.ask("scancel", faults[seed]["JobId"])
            elif seed == 2:
                cluster.ask("scontrol", "requeue", faults[seed]["JobId"])
            else:
                crash_node(cluster.folder, faults[seed]["NodeList"])
        time.sleep(0.1)
    restart_controller(cluster.folder, cluster.environment)
    second.wait(timeout=400)
    start_node(cluster.folder, cluster.environment, faults[3]["NodeList"])
    err = (tmp_path / "stderr.txt").read_text()
    assert second.returncode == 0, err

    for table in TABLES:
        assert (tmp_path / table).read_bytes() == (undisturbed / table).read_bytes()
    assert (tmp_path / EXAMPLES).exists()
    for seed in SEEDS:
        log = tmp_path / f"logs/demo/train_model/saliency/top_50/seed_{seed}/iteration_2.log"
        assert "resuming after epoch" in log.read_text()
    cancelled, again = cluster.jobs("rule_saliency-top_50-seed_1")[-2:]
    assert (cancelled["JobState"], again["JobState"]) == ("CANCELLED", "COMPLETED")
    assert "logs/slurm/group_saliency-top_50-seed_1" in err  # the failed job's Slurm log
    for seed in (2, 3):
        assert faults[seed]["JobId"] == cluster.jobs(f"rule_saliency-top_50-seed_{seed}")[-1]["JobId"]
        assert int(cluster.jobs(f"rule_saliency-top_50-seed_{seed}")[-1]["Restarts"]) >= 1
    starved, fed = cluster.jobs("rule_render_examples")
    assert (starved["JobState"], starved["MinMemoryNode"]) == ("FAILED", "500M")
    assert (fed["JobState"], fed["MinMemoryNode"]) == ("COMPLETED", "1000M")
    with_gpu = {job["Comment"] for job in cluster.jobs("rule_") if "gpu" in job.get("TresPerJob", "")}
    assert {re.match("rule_([a-z_]+?)(_wildcards.*|-top.*|)$", comment)[1] for comment in with_gpu} == {
        "train_single_pass",
        "render_examples",
        "saliency",
        "single_pass",
    }


def test_preflight_names_a_refused_request_and_a_gpu_that_is_not_there(cluster, tmp_path):
    options = {"overrides": TINY | {"training": {"epochs": 1}}, "environment": cluster.environment}
    before = len(cluster.jobs("rule_"))
    partition = ["--set-resources", "train_single_pass:slurm_partition=nowhere"]
    refused = run_snakemake(tmp_path, "preflight", *PROFILE, *partition, **options)
    assert refused.returncode != 0
    assert "Slurm refuses the jobs of train_single_pass" in refused.stderr
    assert "invalid partition specified: nowhere" in refused.stderr
    assert len(cluster.jobs("rule_")) == before
    without = run_snakemake(tmp_path, "preflight", *PROFILE, **options)
    assert without.returncode != 0
    assert (
        "Slurm accepts --time=170 --mem=8000 --gpus=1 --cpus-per-task=1 --signal=TERM@120 (a chain)" in without.stderr
    )
    assert "error: n1: a GPU was asked for" in without.stderr
