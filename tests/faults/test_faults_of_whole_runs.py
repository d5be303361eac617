"""Whole runs through faults: jobs of every rule killed, a killed snakemake, damaged and deleted files, wrong dates."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from experiments import RULES, await_that, run_snakemake, start_snakemake
from fault_injection import RESULTS, TWO_ARMS, damage, error_lines, files_of, injected, leftovers

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

# Rules of other targets, or asked for by a key; those that look at a run or a cluster leave no result.
ELSEWHERE = {
    "preflight",
    "check_node",
    "check_requests",
    "set_up_site",
    "status",
    "preview",
    "check",
    "check_data",
    "time_networks",
}
ELSEWHERE |= {"download_oxford_pet", "fetch_encoder", "predict_images", "export_model", "compare_experiments"}
ELSEWHERE |= {"render_sources", "plot_sources", "decide_look"}
NAMED = {"write_intact_mask", "plot_cost", "write_report"}  # killed as they name a file
TABLES = ["metrics", "history", "kept_pixels", "contrasts", "racu", "convergence"]
TARGETS = [str(RESULTS / f"{name}.csv") for name in TABLES]
MODELS = [
    f"{chain}/model.safetensors"
    for chain in ("single_pass/top_100/seed_1/iteration_1", "saliency/top_50/seed_1/iteration_2")
]
MASK = "saliency/top_50/seed_1/iteration_2/mask.h5"
NO_NETWORK = ("unshare", "--map-root-user", "--net")
COUNTS = [f"{chain}/seed_1/counts.h5" for chain in ("single_pass/top_100", "saliency/top_50")]


def numbers_of(folder):
    """The files of `undisturbed` as another run made them, tables without columns of seconds.

    Left out are the dates of the drawn pictures, the list of the code that ran (here that of the figures ran, too), and
    the digest of a table that has a column of seconds.
    """
    left_out = {"pictures.json", "code.json", "origins/measure_convergence.json"}
    files = {name: content for name, content in files_of(folder).items() if name not in left_out}
    return {name: untimed(content) if name.endswith(".csv") else content for name, content in files.items()}


def untimed(content):
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


def run(folder, *arguments, **options):
    return run_snakemake(folder, *TARGETS, *arguments, overrides=TWO_ARMS, **options)


def rules_of(done):
    """The rules of the jobs that a run planned, by its table."""
    return set(re.findall(r"^(\w+) +\d+$", done.stdout + done.stderr, re.MULTILINE)) - {"total"}


def assert_same(folder, undisturbed):
    found, expected = numbers_of(folder), numbers_of(undisturbed)
    assert [name for name in expected if found.get(name) != expected[name]] == []
    assert not leftovers(folder)


def is_without_network():
    """Whether this machine lets a process give up its network."""
    connect = "import socket; socket.create_connection(('127.0.0.1', 9))"
    command = [*NO_NETWORK, sys.executable, "-c", connect]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return False
    return "Network is unreachable" in tried.stderr


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a finished experiment, without its figures, computed one job at a time; not to be changed.

    The run that is compared with it, through every fault, has two jobs at a time: the same bytes say that neither
    matters. Where that can be, this one has no network.
    """
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    folder.mkdir()
    done = run(folder, "--cores", "1", prefix=NO_NETWORK if is_without_network() else ())
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def finished(undisturbed, tmp_path):
    """A copy of it."""
    return shutil.copytree(undisturbed, tmp_path / "run")


def plan_of_faults(rules):
    """Two faults for each script: one signal at its start, the other later.

    Later is when its first file is whole and has no name yet; for what is drawn and worded at the end, all written
    alike, when it has just begun. A training names its checkpoints first: it is killed as it writes one, or then.
    """
    plan = {}
    for number, rule in enumerate(sorted(rules - {"train_single_pass", "train_model"})):
        signals = [signal.SIGKILL, signal.SIGTERM] if number % 2 else [signal.SIGTERM, signal.SIGKILL]
        is_worded = rule.startswith(("plot_", "render_", "write_", "summarise_")) and rule not in NAMED
        plan[rule] = [[signals[0], "start", 0], [signals[1], *(["start", 400] if is_worded else ["rename", 0])]]
    plan["train_model"] = [[signal.SIGTERM, "start", 0], [signal.SIGKILL, "rename", 0], None]
    plan["train_model"] += [[signal.SIGKILL, "start", 0], [signal.SIGTERM, "rename", 20]]
    return plan


def test_a_run_asks_no_network(undisturbed):
    if not is_without_network():
        pytest.skip("this machine does not let a process give up its network")
    assert (undisturbed / RESULTS / "contrasts.csv").exists()  # made without any


def test_jobs_of_every_rule_killed_by_both_signals_are_run_again(undisturbed, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    plan = plan_of_faults(RULES.keys() - ELSEWHERE)
    done = run_snakemake(folder, "--retries", "2", overrides=TWO_ARMS, environment=injected(tmp_path, plan))
    assert done.returncode == 0, done.stderr
    processes = {path.name for path in (tmp_path / "counted").iterdir()}
    assert {f"{script}-{len(faults)}" for script, faults in plan.items()} <= processes
    assert_same(folder, undisturbed)
    assert "Nothing to be done" in str(run_snakemake(folder, "-n", overrides=TWO_ARMS))
    for name in ("history.csv", "racu.csv", "costs.csv", "figures/heat_map.pdf"):
        (folder / RESULTS / name).unlink()
    planned = rules_of(run_snakemake(folder, "-n", overrides=TWO_ARMS))
    assert {"collect_tables", "compare_arms", "summarise_costs", "plot_heat_map"} <= planned
    assert not planned & {"train_model", "evaluate_model"}


def test_two_at_once_are_refused_and_a_killed_snakemake_goes_on_after_unlock(undisturbed, tmp_path):
    folder, target = tmp_path / "run", str(RESULTS / MODELS[0])
    folder.mkdir()
    first = start_snakemake(folder, target, overrides=TWO_ARMS)
    await_that((folder / RESULTS / "dataset.h5").exists, first)
    second = run_snakemake(folder, target, overrides=TWO_ARMS)
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stderr
    await_that((folder / RESULTS / MODELS[0]).with_name("checkpoint.safetensors").exists, first)
    first.send_signal(signal.SIGKILL)
    first.wait(timeout=30)
    assert run_snakemake(folder, "--unlock", overrides=TWO_ARMS).returncode == 0
    done = run_snakemake(folder, target, overrides=TWO_ARMS)
    assert done.returncode == 0, done.stderr
    for name in ("dataset.h5", "intact_mask.h5", MODELS[0]):
        assert (folder / RESULTS / name).read_bytes() == (undisturbed / RESULTS / name).read_bytes()
    assert not leftovers(folder)


def test_each_damaged_file_is_named_and_made_again_once_it_is_deleted(finished, undisturbed):
    results, damaged = finished / RESULTS, {MODELS[1]: "cut", MASK: "flipped", COUNTS[0]: "flipped"}
    for name, how in damaged.items():
        damage(results / name, how)
    for name in (COUNTS[1], *(f"{name}.csv" for name in TABLES)):
        (results / name).unlink()
    for name in damaged:
        (line,) = error_lines(run(finished))
        assert line.startswith(f"{RESULTS / name}: ")
        assert line.endswith("; delete it and run again")
        (results / name).unlink()
    done = run(finished)
    assert done.returncode == 0, done.stderr
    assert_same(finished, undisturbed)


def test_files_that_were_touched_are_those_that_they_were(finished, undisturbed):
    tomorrow = (time.time() + 86_400,) * 2
    for path in (*(finished / RESULTS).rglob("*.h5"), finished / RESULTS / "history.csv"):
        os.utime(path, times=tomorrow)
    assert rules_of(run(finished, "-n")) == set()
    (finished / RESULTS / "contrasts.csv").unlink()
    done = run(finished)
    assert done.returncode == 0, done.stderr
    assert rules_of(done) == {"compare_arms"}
    assert_same(finished, undisturbed)


def test_files_made_before_a_clock_was_set_back_are_told_and_taken_after_a_touch(finished, undisturbed):
    tomorrow, records = time.time_ns() + 86_400 * 10**9, finished / RESULTS / "records.json"
    stored = json.loads(records.read_text())
    for name, entry in stored.items():
        if entry and name.endswith((".h5", "history.csv")):  # null: a run planned it and did not make it
            entry["changed"] = tomorrow
            with suppress(FileNotFoundError):  # what was temporary
                os.utime(finished / name.replace("<results>", str(RESULTS)), ns=(tomorrow, tomorrow))
    records.write_text(json.dumps(stored))
    (finished / RESULTS / "contrasts.csv").unlink()
    refused = run(finished)
    assert refused.returncode != 0
    assert re.search(r"contrasts\.csv has older modification time .* than input .*clock skew", refused.stderr)
    subprocess.run(["find", "results", "-exec", "touch", "-d", "0:00", "{}", "+"], cwd=finished, check=True)
    done = run(finished)
    assert done.returncode == 0, done.stderr
    assert rules_of(done) == {"compare_arms"}
    assert_same(finished, undisturbed)
    assert rules_of(run(finished, "-n")) == set()
