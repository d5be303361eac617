import json
import subprocess

import pytest

from spatial_reduction.cluster.check_node import check_node
from spatial_reduction.cluster.check_requests import check_requests, conclude_preflight, sbatch_options
from spatial_reduction.runtime.errors import InputError

TRAINING = {"_cores": 4, "mem_mb": 8000, "runtime": 120, "gpu": 1, "tmpdir": "/tmp", "mem": "8 GB"}


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (TRAINING, "--time=120 --mem=8000 --gpus=1 --cpus-per-task=4"),
        (TRAINING | {"gpu_model": "a100"}, "--time=120 --mem=8000 --gpus=a100:1 --cpus-per-task=4"),
        (TRAINING | {"gpu": 0, "gres": "gpu:2"}, "--time=120 --mem=8000 --gres=gpu:2 --cpus-per-task=4"),
        (TRAINING | {"gpu": 0, "gpu_model": "t4"}, "--time=120 --mem=8000 --gpus=t4:1 --cpus-per-task=4"),
        ({"_cores": 1, "mem_mb": 9, "mem_mb_per_cpu": 5}, "--mem-per-cpu=5 --cpus-per-task=1"),
        (TRAINING | {"cpus_per_gpu": 8}, "--time=120 --mem=8000 --gpus=1 --cpus-per-gpu=8"),
        (
            {"_cores": 1, "slurm_partition": "p", "slurm_account": "a", "slurm_extra": "'--signal=TERM@120' '--x=y'"},
            "--partition=p --account=a --cpus-per-task=1 --signal=TERM@120 --x=y",
        ),
    ],
)
def test_a_request_becomes_the_options_of_sbatch(request_, options):
    assert sbatch_options(request_) == options.split()


def test_equal_requests_are_judged_once_and_refusals_are_all_told(tmp_path, monkeypatch):
    asked = []

    def sbatch(command, **_):
        asked.append(command)
        refused = "--mem=9" in command
        return subprocess.CompletedProcess(command, int(refused), "", "sbatch: error: too much\n" if refused else "")

    monkeypatch.setattr(subprocess, "run", sbatch)
    small, large = {"_cores": 1, "mem_mb": 5}, {"_cores": 1, "mem_mb": 9}
    check_requests({"a": small, "b": small}, tmp_path / "requests.json")
    assert asked == [["sbatch", "--test-only", "--mem=5", "--cpus-per-task=1", "--wrap", "true"]]
    assert json.loads((tmp_path / "requests.json").read_text()) == [
        "Slurm accepts --mem=5 --cpus-per-task=1 (a, b)",
    ]
    with pytest.raises(InputError, match=r"c \(sbatch --mem=9 --cpus-per-task=1: too much\)"):
        check_requests({"a": small, "c": large}, tmp_path / "refused.json")
    assert not (tmp_path / "refused.json").exists()


def test_a_node_that_offers_what_was_promised_is_ready(pets, tmp_path, capsys, dataset_config, monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    check_node(dataset_config | {"root": str(pets)}, "cpu", asks_gpu=False, output=tmp_path / "node.json")
    check_requests({}, tmp_path / "requests.json")
    conclude_preflight(tmp_path / "node.json", tmp_path / "requests.json")
    said = capsys.readouterr().err
    assert "jobs run on this machine" in said
    assert f"n7: reads 24 pairs below {pets}" in said
    assert said.endswith("ready\n")


@pytest.mark.parametrize(
    ("root", "message"), [("nowhere", "trainval.txt: missing"), ("truncated", "cannot be read there")]
)
def test_data_that_a_node_cannot_read_are_named(pets, tmp_path, dataset_config, root, message):
    (tmp_path / "truncated/annotations").mkdir(parents=True)
    for name in ("trainval.txt", "test.txt"):
        listing = pets / "annotations" / name
        (tmp_path / "truncated/annotations" / name).write_bytes(listing.read_bytes())
    check_node(dataset_config | {"root": str(tmp_path / root)}, "cpu", asks_gpu=False, output=tmp_path / "node.json")
    (tmp_path / "requests.json").write_text("[]")
    with pytest.raises(InputError, match=message):
        conclude_preflight(tmp_path / "node.json", tmp_path / "requests.json")
    assert not list(tmp_path.glob("*.json"))  # the next preflight looks again
