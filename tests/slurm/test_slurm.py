"""The workflow on a real Slurm: a private cluster of two nodes (see cluster.py)."""

import re
import subprocess

import pytest
from cluster import missing_commands, start, stop

from conftest import ROOT, run_snakemake

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(bool(missing_commands()), reason=f"Slurm is not installed: no {', '.join(missing_commands())}"),
]

TINY = {
    "seeds": [1],
    "dataset": {"image_size": 16, "synthetic": {"images": 24, "side": 32}},
    "model": {"widths": [2, 4]},
    "training": {"epochs": 1, "batch_size": 4},
    "reduction": {"thresholds": [50], "iterations": 2},
    "arms": {"equal_compute": None, "restarts": None, "random": None, "oracle": None},
    "evaluation": {"comparators": ["single_pass"], "resamples": 100},
    "report": {"images": 2},
}
CHAIN = "results/demo/saliency/top_50/seed_1"
TARGETS = [f"{CHAIN}/metrics.csv", f"{CHAIN}/iteration_2/kept_pixels.csv"]
GPU_RULES = {"train_single_pass", "train_model", "compute_saliency", "evaluate_model"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment of a running cluster's users."""
    folder = tmp_path_factory.mktemp("slurm")
    try:
        yield start(folder)
    finally:
        stop(folder)


def test_slurm_and_this_machine_give_the_same_tables_and_only_gpu_rules_ask_for_a_gpu(cluster, tmp_path_factory):
    local, remote = tmp_path_factory.mktemp("local"), tmp_path_factory.mktemp("remote")
    profile = ["--profile", str(ROOT / "profiles/slurm"), "--set-threads", "train_model=1", "train_single_pass=1"]
    quick = ["--slurm-init-seconds-before-status-checks", "1", "--slurm-status-command", "squeue", "--slurm-no-account"]
    done = run_snakemake(remote, *TARGETS, *profile, *quick, overrides=TINY, environment=cluster)
    assert done.returncode == 0, done.stderr
    assert run_snakemake(local, *TARGETS, overrides=TINY).returncode == 0
    for target in TARGETS:
        assert (remote / target).read_bytes() == (local / target).read_bytes()

    jobs = subprocess.check_output(["scontrol", "show", "jobs", "--oneliner"], env=cluster, text=True).splitlines()
    asked = {re.search(r"Comment=rule_([a-z_]+?)(?:_wildcards|\s)", job)[1]: "gres:gpu" in job for job in jobs}
    assert {rule for rule, gpu in asked.items() if gpu} == GPU_RULES
    assert {"prepare_dataset", "shrink_mask"} <= set(asked)
