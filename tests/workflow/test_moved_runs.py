"""A run that was copied, moved or lost its records plans nothing needless, and what differs is still seen."""

import json
import shutil

import pytest

from experiments import ROOT, run_snakemake, tiny

CHAIN = "{}/single_pass/top_100/seed_1/metrics.csv"
RUN = "results/demo"
TRAINING = {"train_single_pass", "evaluate_model"}


def overrides(root="raw", **changes):
    return tiny(dataset={"source": "oxford_pet", "root": root}, **changes)


@pytest.fixture(scope="module")
def finished(pets, tmp_path_factory):
    """A folder with pictures and one finished chain; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(pets, folder / "raw")
    done = run_snakemake(folder, CHAIN.format(RUN), overrides=overrides())
    assert done.returncode == 0, done.stderr
    return folder


def copy_anew(source, target):
    """Copy as `cp -r` does: every file has the time of its copy."""
    shutil.copytree(source, target, copy_function=shutil.copy)


def planned(folder, results=RUN, checkout=ROOT, **settings):
    """Return the rules that a plan runs."""
    done = run_snakemake(folder, "--dry-run", CHAIN.format(results), overrides=overrides(**settings), root=checkout)
    assert done.returncode == 0, done.stderr
    return {line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("rule ")}


def test_a_copied_run_plans_nothing_and_then_reruns_what_is_changed(finished, tmp_path):
    copy_anew(finished, tmp_path / "copy")
    assert planned(tmp_path / "copy") == set()
    assert planned(tmp_path / "copy", training={"learning_rate": 0.001}) == TRAINING


def test_results_alone_in_a_new_folder_plan_nothing(finished, tmp_path):
    copy_anew(finished / "results", tmp_path / "results")
    copy_anew(finished / "raw", tmp_path / "elsewhere/pets")
    assert planned(tmp_path, root="elsewhere/pets") == set()
    assert planned(tmp_path, root=str(tmp_path / "elsewhere/pets"), training={"epochs": 2}) == TRAINING
    picture = next((tmp_path / "elsewhere/pets/images").iterdir())
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert planned(tmp_path, root="elsewhere/pets") >= {"prepare_dataset", *TRAINING}


def test_results_under_another_name_plan_nothing(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    (folder / "results/demo").rename(folder / "results/first")
    changes = {"pathvars": {"results": "results/first"}}
    assert planned(folder, "results/first", **changes) == set()


def test_lost_records_hide_no_changed_setting(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    shutil.rmtree(folder / ".snakemake")
    assert planned(folder, training={"learning_rate": 0.5}) == TRAINING


def test_a_file_of_another_run_is_not_taken_for_the_recorded_one(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    model = folder / CHAIN.format(RUN).replace("metrics.csv", "iteration_1/model.safetensors")
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    shutil.rmtree(folder / ".snakemake")
    done = run_snakemake(folder, "--dry-run", CHAIN.format(RUN), overrides=overrides())
    assert done.returncode == 1
    assert (
        f"nothing tells what made {RUN}/single_pass/top_100/seed_1/iteration_1/model.safetensors; delete" in done.stderr
    )


def test_results_without_any_record_are_refused(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    shutil.rmtree(folder / ".snakemake")
    (folder / RUN / "records.json").unlink()
    done = run_snakemake(folder, "--dry-run", CHAIN.format(RUN), overrides=overrides())
    assert done.returncode == 1
    assert "pathvars.results: nothing tells what made results/demo/dataset.h5 and 7 more; delete them" in done.stderr


def test_a_table_or_figure_without_a_record_is_refused_but_no_stray_file(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    (folder / RUN / "notes.txt").touch()
    assert planned(folder) == set()
    for name in ("contrasts.csv", "report.html", "looks/after_1_seeds.json", "figures/ladder.png"):
        (folder / RUN / name).parent.mkdir(exist_ok=True)
        (folder / RUN / name).touch()
    done = run_snakemake(folder, "--dry-run", CHAIN.format(RUN), overrides=overrides())
    assert done.returncode == 1
    assert f"nothing tells what made {RUN}/contrasts.csv and 3 more; delete them" in done.stderr


def test_what_a_stopped_job_left_is_made_again_also_where_its_mark_was_lost(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    (folder / RUN / "intact_mask.h5").touch()
    records = json.loads((folder / RUN / "records.json").read_text())
    (folder / RUN / "records.json").write_text(json.dumps(records | {"<results>/intact_mask.h5": None}))
    shutil.rmtree(folder / ".snakemake")
    assert planned(folder, "results/demo") == {"write_intact_mask", *TRAINING}


def test_lost_records_hide_no_changed_code(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    for name in ("Snakefile", "workflow", "scripts", "config", "profiles"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    code = folder / "scripts/spatial_reduction/training/optimizer.py"
    code.write_text(code.read_text() + "\n\nLIMIT = 3\n")
    shutil.rmtree(folder / ".snakemake")
    assert planned(folder, checkout=folder) == TRAINING


def test_files_of_other_settings_are_refused_where_they_are_joined(finished, tmp_path):
    """`--rerun-triggers mtime` believes what is there: here a single pass that was trained at another rate."""
    folder = shutil.copytree(finished, tmp_path / "copy")
    arms = dict.fromkeys(("saliency", "restarts", "shuffled"))
    changes = {"arms": arms, "report": {"method": "equal_compute"}, "evaluation": {"comparators": ["single_pass"]}}
    command = (f"{RUN}/metrics.csv", "--rerun-triggers", "mtime")
    done = run_snakemake(folder, *command, overrides=overrides(**changes, training={"learning_rate": 0.5}))
    assert done.returncode == 1
    told = "iteration 1: train_model.training.learning_rate was 0.005, 0.5 is asked for; ask for that again, or delete"
    assert f"{CHAIN.format(RUN).replace('metrics.csv', 'counts.h5')}: was not made as asked: {told}" in done.stderr
    assert not (folder / RUN / "metrics.csv").exists()
