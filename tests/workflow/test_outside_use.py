"""The workflow as a module of another: prefix, folders and configuration of its own; and by its second Snakefile."""

import re
import shutil
import subprocess
import sys

import yaml

from experiments import ROOT, hold, two_arms

CALLER = """
configfile: "mine.yaml"

module reduction:
    snakefile: "{snakefile}"
    config: config["reduction"]
    prefix: "nested"

use rule * from reduction as reduction_*

onstart:
    open("begun", "w").write("the caller's own")

onsuccess:
    open("ended", "w").write("the caller's own")

rule mine:
    default_target: True
    input: rules.reduction_all.input
"""
MINE = two_arms(pathvars={"results": "out/mine"})


def run(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def backwards(settings):
    """The same settings, named in the opposite order."""
    if not isinstance(settings, dict):
        return settings
    return {name: backwards(settings[name]) for name in sorted(settings, reverse=True)}


def outputs(text):
    return {name for line in re.findall(r"^ +output: (.+)$", text, re.MULTILINE) for name in line.split(", ")}


def test_as_a_module_it_has_a_prefix_folders_and_a_configuration_of_its_own(tmp_path):
    (tmp_path / "Snakefile").write_text(CALLER.format(snakefile=ROOT / "workflow/Snakefile"))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"reduction": MINE}))
    planned = run(tmp_path, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "localrules directive" not in planned.stderr
    names = outputs(planned.stdout)
    assert "nested/out/mine/saliency/top_50/seed_1/iteration_2/mask.h5" in names
    assert [name for name in names if not name.startswith("nested/out/mine/")] == []
    assert "rule reduction_plot_thresholds:" in planned.stdout
    mask = "nested/out/mine/intact_mask.h5"
    done = run(tmp_path, mask)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / mask).is_file()
    assert (tmp_path / "nested/logs/write_intact_mask.log").is_file()
    assert (tmp_path / "begun").read_text() == (tmp_path / "ended").read_text() == "the caller's own"
    assert not list((tmp_path / "nested/out/mine").glob(".run*"))

    shutil.rmtree(tmp_path / ".snakemake")
    again = run(tmp_path, "--dry-run", mask)
    assert "rule reduction_" not in again.stdout, again.stdout
    assert "nested/out/mine: copied or moved here, their records with them: 4 of its files" in again.stderr
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(backwards({"reduction": MINE}), sort_keys=False))
    assert "rule reduction_" not in run(tmp_path, "--dry-run", mask).stdout
    changed = MINE | {"dataset": MINE["dataset"] | {"image_size": 32}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"reduction": changed}))
    assert "rule reduction_prepare_dataset:" in run(tmp_path, "--dry-run", mask).stdout

    other = hold(tmp_path / "nested/out/mine", tmp_path / "other")
    try:
        refused = run(tmp_path, mask)
        assert refused.returncode == 1
        assert f"nested/out/mine is being written by process {other.pid} on " in refused.stderr
        assert run(tmp_path, "--dry-run", mask).returncode == 0
    finally:
        other.kill()
        other.communicate()
    (tmp_path / "nested/out/mine/records.json").unlink()
    shutil.rmtree(tmp_path / ".snakemake")
    assert "nothing tells what made nested/out/mine/dataset.h5 and 3 more" in run(tmp_path, "--dry-run", mask).stderr


def test_what_a_module_reads_is_looked_for_where_the_caller_is_and_not_below_the_prefix(tmp_path):
    (tmp_path / "Snakefile").write_text(CALLER.format(snakefile=ROOT / "Snakefile"))
    (tmp_path / "new").mkdir()
    (tmp_path / "new/a.png").touch()
    encoder = {"name": "encoder_unet", "weights": "encoder.safetensors", "widths": [4, 4, 4, 4, 4]}
    (tmp_path / "encoder.safetensors").touch()
    asked = MINE | {"prediction": {"images": "new"}, "model": encoder}
    asked["dataset"] = MINE["dataset"] | {"image_size": 64}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"reduction": asked}))
    planned = run(tmp_path, "--dry-run", "reduction_predict")
    assert planned.returncode == 0, planned.stderr
    assert f"input: {tmp_path}/encoder.safetensors" in planned.stdout
    assert f"input: {tmp_path}/new/a.png, nested/out/mine/" in planned.stdout


def test_a_module_with_a_mistake_in_its_configuration_is_refused(tmp_path):
    (tmp_path / "Snakefile").write_text(CALLER.format(snakefile=ROOT / "Snakefile"))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"reduction": MINE | {"seeds": [1, 1]}}))
    planned = run(tmp_path, "--dry-run")
    assert planned.returncode == 1
    assert "config: seeds: " in planned.stderr


def test_the_second_snakefile_plans_what_the_first_does(tmp_path):
    first, second = (
        run(tmp_path, "--dry-run", "--snakefile", str(ROOT / name)) for name in ("Snakefile", "workflow/Snakefile")
    )
    assert second.returncode == 0, second.stderr
    assert outputs(second.stdout) == outputs(first.stdout) != set()


def test_the_catalogue_is_told_how_the_workflow_is_deployed():
    told = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert told["software-stack-deployment"]["conda"] is True
    assert told["report"] is True
