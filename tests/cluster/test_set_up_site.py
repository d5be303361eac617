import math
import subprocess

import pytest
import yaml
from snakemake_executor_plugin_slurm.partitions import read_partition_file

from experiments import ROOT
from spatial_reduction.cluster.set_up_site import driver, partitions_file, profile, usable
from spatial_reduction.cluster.slurm_site import Partition, Rights


def partition(name, **changes):
    own = {"minutes": 120, "is_default": False, "is_up": True, "is_preempted": False, "groups": (), "accounts": ()}
    own |= {"gpus": {}, "shares": (), "cores": 16, "memory_mb": 64000}
    return Partition(name=name, **(own | changes))


RIGHTS = Rights(("alice", "lab"), ("money",), ("normal", "few"), None, {"account": {"money": 50}, "qos": {"few": 3}})
SMALL = [partition("p", cores=4), partition("q", cores=6)]
GPU = partition("gpu", gpus={"a100": 2, "v100": 4}, minutes=None)


@pytest.mark.parametrize(
    ("changes", "is_usable"),
    [
        ({}, True),
        ({"is_up": False}, False),
        ({"groups": ("lab", "x")}, True),
        ({"groups": ("x",)}, False),
        ({"accounts": ("money",)}, True),
        ({"accounts": ("other",)}, False),
        ({"is_preempted": True}, False),
    ],
)
def test_partitions_that_are_open_to_the_user_and_keep_their_jobs(changes, is_usable):
    assert (partition("p", **changes) in usable([GPU, partition("p", **changes)], RIGHTS)) == is_usable


def test_where_every_partition_preempts_they_are_taken():
    assert usable([partition("p", is_preempted=True)], RIGHTS)


def test_the_plugin_reads_the_partitions(tmp_path):
    path = tmp_path / "partitions.yaml"
    path.write_text(partitions_file([GPU, partition("cpu"), partition("short", minutes=9)]))
    gpu, cpu, short = read_partition_file(path)
    assert (gpu.limits.max_gpu, gpu.limits.available_gpu_models) == (4, ["a100", "v100"])
    assert (cpu.limits.max_gpu, cpu.limits.max_runtime, cpu.limits.max_threads) == (0, math.inf, 16)
    assert (short.limits.max_runtime, short.limits.max_mem_mb) == (9, math.inf)


def test_the_profile_is_that_of_slurm_with_the_sites_account_partitions_and_limit(tmp_path):
    template = (ROOT / "profiles/slurm/config.yaml").read_text()
    before, after = yaml.safe_load(template), yaml.safe_load(profile(template, tmp_path, RIGHTS, SMALL))
    assert after.pop("slurm-partition-config") == f"{tmp_path}/partitions.yaml"
    assert after["default-resources"].pop("slurm_account") == "money"
    assert after.pop("jobs") == 50
    assert before.pop("jobs") == 200
    assert before["set-threads"].pop("prepare_dataset") == 8
    assert after["set-threads"].pop("prepare_dataset") == 6
    assert after == before


def test_the_driver_is_a_script_for_the_partition_that_lets_jobs_run_longest(tmp_path):
    text = driver(
        tmp_path / "driver.sh", ["python", "a b"], [GPU, partition("cpu"), partition("short", minutes=9)], RIGHTS
    )
    assert "#SBATCH --partition=cpu\n#SBATCH --account=money\n" in text
    assert "#SBATCH --time=120\n" in text
    (tmp_path / "driver.sh").write_text(text)
    subprocess.run(["bash", "-n", tmp_path / "driver.sh"], check=True)
