import json

import pytest

from spatial_reduction.cluster.check_node import check_node
from spatial_reduction.cluster.check_requests import check_requests, conclude_preflight
from spatial_reduction.cluster.slurm_site import minutes_of, read_limits, read_partitions
from spatial_reduction.runtime.errors import InputError

PARTITIONS = """PartitionName=gpu AllowGroups=ALL AllowAccounts=ALL Default=YES MaxTime=02:00:00 State=UP
PartitionName=long AllowGroups=lab AllowAccounts=ALL Default=NO MaxTime=UNLIMITED State=UP"""
NODES = """gpu|gpu:a100:2(S:0-1),shard:a100:8|64|512000
gpu|gpu:v100:4|32|256000
long|(null)|16|64000"""
USER = "lab|few,normal|normal|lab||\n"
QOS = "normal|||\nfew|00:10:00|3|\n"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs that answer as Slurm's do; sbatch refuses more than 8 cores."""
    answers = {
        "scontrol": f"echo '{PARTITIONS}'",
        "sinfo": f"case $* in *%N*) printf 'n1|gpu:a100:2(S:0),shard:a100:8\\nn1|gpu:a100:2\\nn2|gpu:v100:4\\n';; "
        f"*) echo '{NODES}';; esac",
        "sacctmgr": f"case $* in *qos\\ format*) printf '{QOS}';; *) printf '{USER}';; esac",
        "sbatch": "[[ $* = *cpus-per-task=9* ]] && { echo 'sbatch: error: too much' >&2; exit 1; }; true",
    }
    for name, answer in answers.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{answer}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def request(name, options, minutes=60, attempt=1, count=1, gpus=0):
    command = f"--parsable --job-name x --output y --export=ALL --comment z -t {minutes} {options}".split()
    return {
        "name": name,
        "attempt": attempt,
        "count": count,
        "gpus": gpus,
        "minutes": minutes,
        "seconds": 30 * minutes,
        "command": command,
    }


def findings(tmp_path, *requests, jobs=None):
    check_requests(requests, tmp_path / "requests.json", jobs)
    return "\n".join(json.loads((tmp_path / "requests.json").read_text()))


def test_what_slurm_says_of_itself(slurm):
    gpu, long = read_partitions()
    assert (gpu.minutes, gpu.gpus, gpu.shares, gpu.memory_mb) == (120, {"a100": 2, "v100": 4}, ("shard",), 512000)
    assert (long.minutes, long.gpus, long.groups, long.is_default) == (None, {}, ("lab",), False)
    assert read_limits() == {
        "partition": {"gpu": 120, "": 120},
        "memory": {"gpu": 512000, "": 512000, "long": 64000},
        "account": {},
        "qos": {"few": 10},
    }


@pytest.mark.parametrize(
    ("time", "minutes"), [("1-02:03:59", 1563), ("02:00:00", 120), ("30:00", 30), ("UNLIMITED", None), ("", None)]
)
def test_time_limits_are_read_in_minutes(time, minutes):
    assert minutes_of(time) == minutes


def test_equal_requests_are_judged_once_and_refusals_are_all_told(slurm, tmp_path):
    small, large = "-p gpu --cpus-per-task=1", "-p gpu --cpus-per-task=9"
    later = request("a", small, attempt=4), request("c", small, attempt=4)
    said = findings(tmp_path, request("a", small), request("b", small), request("c", small, minutes=5), *later)
    assert "Slurm accepts -t 60 -p gpu --cpus-per-task=1 (a, b, c at attempt 4)" in said
    problem = {"name": "d", "problem": "its jobs disagree"}
    with pytest.raises(InputError, match=r"of d: its jobs disagree; c \(sbatch .*--cpus-per-task=9: too much\)"):
        findings(tmp_path, request("a", small), request("c", large), problem, problem)


@pytest.mark.parametrize(
    ("options", "minutes", "limit"),
    [("-p gpu", 121, 120), ("", 121, 120), ("-p long --qos=few", 11, 10), ("-p gpu --mem 600000", 9, 512000)],
)
def test_a_first_attempt_beyond_a_limit_is_refused_and_a_later_one_is_cut(slurm, tmp_path, options, minutes, limit):
    with pytest.raises(InputError, match=f"a: asks for .* {limit} is the most that"):
        findings(tmp_path, request("a", options, minutes))
    assert f"{limit} is the most" in findings(tmp_path, request("a", options, minutes, attempt=4))


@pytest.mark.parametrize(("options", "minutes"), [("-p gpu", 120), ("-p long", 9999), ("-p gpu,long", 9999)])
def test_a_request_within_the_limits_is_accepted(slurm, tmp_path, options, minutes):
    assert "Slurm accepts" in findings(tmp_path, request("a", options, minutes))


def test_a_short_queue_and_the_hours_are_told(slurm, tmp_path):
    asked = request("chain a", "-p gpu --qos=few", minutes=9, count=160, gpus=1), request("tail", "-p gpu", minutes=30)
    said = findings(tmp_path, *asked, jobs=200)
    assert "qos few lets 3 of your jobs into the queue at a time; the others wait: set jobs: 3" in said
    assert (
        "asked for: 161 jobs, 160 of them chains; 24 GPU hours, of which 12 are expected to be used, about 2.0 h on 6"
        in said
    )
    assert "set jobs" not in findings(tmp_path, *asked, jobs=3)


def test_a_node_that_offers_what_was_promised_is_ready(pets, tmp_path, capsys, dataset_config, monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    check_node(dataset_config | {"root": str(pets)}, "cpu", asks_gpu=False, output=tmp_path / "node.json")
    check_requests([], tmp_path / "requests.json")
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
