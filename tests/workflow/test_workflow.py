import ast
import os
import re
import shutil
from copy import deepcopy

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from PIL import Image
from snakemake.utils import update_config

from experiments import ROOT, TINY, run_snakemake
from spatial_reduction.networks.model_file import load_model

CHECKOUT = ["config", "envs", "profiles", "scripts", "workflow"]

DATA = {"draw_synthetic_pets": 1, "plot_labels": 1, "prepare_dataset": 1, "write_intact_mask": 1}
CONTRASTS = ["compare_arms", "plot_contrasts", "plot_ladder", "plot_robustness", "write_sheet"]  # and what shows them
TABLES = {"collect_tables": 1, "compare_arms": 1, "measure_convergence": 1, "write_sheet": 1}
MEASURED_ONCE = {"measure_references": 1}  # of the data alone
PLOTS = ["plot_thresholds", "plot_iterations", "plot_learning_curves", "plot_kept_pixels", "plot_cost"]
PLOTS += ["plot_ladder", "plot_contrasts", "plot_heat_map", "plot_robustness", "plot_reliability"]
END = {"summarise_costs": 1, "write_report": 1}
REPORT = {**dict.fromkeys(PLOTS, 1), **END}

# The tiny experiment: equal_compute has an iteration 1 of its own.
CHAIN = {"compute_saliency": 1, "shrink_mask": 1, "train_model": 1, "evaluate_model": 1}
EXAMPLES = {"render_examples": 1, "plot_examples": 1}
ALL_CHAINS = {**CHAIN, "train_single_pass": 2, "evaluate_model": 3}


def plan(checkout, changes=None):
    """Dry-run the tiny experiment with changes in a checkout; return what is printed."""
    overrides = deepcopy(TINY)
    update_config(overrides, changes or {})
    process = run_snakemake(checkout, "--dry-run", overrides=overrides, root=checkout)
    assert process.returncode == 0, process.stderr
    return process.stdout


def job_counts(text):
    """Read the table `Job stats`: {rule: count}, without the target `all`."""
    counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}
    return {rule: count for rule, count in counts.items() if rule not in ("all", "total")}


def planned_files(text):
    lines = re.findall(r"^ +output: (.+)$", text, re.MULTILINE)
    return {file for line in lines for file in line.removesuffix(" (temporary)").split(", ")}


def edit(path):
    """Change what a file computes when it is imported."""
    with open(path, "a") as file:
        file.write("EDITED = True\n")


@pytest.fixture(scope="module")
def demo_plan(tmp_path_factory):
    process = run_snakemake(tmp_path_factory.mktemp("demo"), "--dry-run")
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy of this checkout in which the tiny experiment has run; for dry runs, not to be changed."""
    checkout = tmp_path_factory.mktemp("finished") / "checkout"
    checkout.mkdir()
    shutil.copy2(ROOT / "Snakefile", checkout)
    for folder in CHECKOUT:
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    process = run_snakemake(checkout, overrides=TINY, root=checkout)
    assert process.returncode == 0, process.stderr
    return checkout


@pytest.fixture
def moved(finished, tmp_path):
    """The finished checkout, its results included, in another place; may be changed."""
    return shutil.copytree(finished, tmp_path / "elsewhere")


def test_the_demo_plans_the_jobs_of_its_design(demo_plan):
    seeds, thresholds, iterations = 5, 2, 2
    reduced = seeds * (thresholds + 1)  # saliency at each threshold; restarts at 100 % only
    assert job_counts(demo_plan) == {
        **DATA,
        "train_single_pass": seeds,
        "compute_saliency": reduced * (iterations - 1),
        "shrink_mask": reduced * (iterations - 1),
        "train_model": reduced * (iterations - 1),
        "evaluate_model": reduced + seeds,
        "render_examples": thresholds,
        "plot_examples": thresholds,
        **TABLES,
        **MEASURED_ONCE,
        **REPORT,
    }


def test_arms_that_train_alike_share_iteration_1(demo_plan):
    files = {file for file in planned_files(demo_plan) if "/iteration_1/" in file}
    assert files == {
        f"results/demo/single_pass/top_100/seed_{seed}/iteration_1/{name}"
        for seed in (1, 2, 3, 4, 5)
        for name in ("model.safetensors", "history.csv", "validation_counts.h5")
    }


@pytest.mark.pipeline
def test_a_finished_run_plans_nothing(finished):
    assert job_counts(plan(finished)) == {}


@pytest.mark.pipeline
def test_another_learning_rate_trains_again_on_the_same_data(finished):
    counts = job_counts(plan(finished, {"training": {"learning_rate": 0.001}}))
    assert counts == {**ALL_CHAINS, **EXAMPLES, **TABLES, **REPORT}


@pytest.mark.pipeline
def test_another_learning_rate_of_one_arm_gives_it_its_own_iteration_1(finished):
    text = plan(finished, {"arms": {"saliency": {"training": {"learning_rate": 0.001}}}})
    single_pass = {file for file in planned_files(text) if "/iteration_1/model" in file}
    assert single_pass == {"results/demo/saliency/top_100/seed_1/iteration_1/model.safetensors"}
    assert job_counts(text) == {"train_single_pass": 1, **CHAIN, **EXAMPLES, **TABLES, **REPORT}


@pytest.mark.pipeline
def test_another_seed_leaves_the_first_one_alone(finished):
    text = plan(finished, {"seeds": [1, 2]})
    assert job_counts(text) == {**ALL_CHAINS, **TABLES, **REPORT}
    assert not [file for file in planned_files(text) if "seed_1" in file]


@pytest.mark.pipeline
def test_another_threshold_leaves_the_first_one_alone(finished):
    text = plan(finished, {"reduction": {"thresholds": [50, 70]}})
    assert job_counts(text) == {**CHAIN, **EXAMPLES, **TABLES, **REPORT}
    assert not [file for file in planned_files(text) if "top_50" in file or "top_100" in file]


@pytest.mark.pipeline
def test_another_arm_leaves_the_others_alone(finished):
    text = plan(finished, {"arms": {"mean": {"fill": "mean"}}})
    assert job_counts(text) == {**CHAIN, **TABLES, **REPORT}
    assert {file.split("/")[2] for file in planned_files(text) if "/seed_1/" in file} == {"mean"}


@pytest.mark.pipeline
def test_another_margin_compares_again_and_measures_nothing(finished):
    counts = job_counts(plan(finished, {"evaluation": {"margins": {"default": 1}}}))
    assert counts == dict.fromkeys([*CONTRASTS, *END], 1)


@pytest.mark.pipeline
def test_lost_records_hide_no_setting_of_the_joined_tables(moved):
    shutil.rmtree(moved / ".snakemake")
    assert job_counts(plan(moved)) == {}
    compared, drawn = dict.fromkeys([*CONTRASTS, *END], 1), dict.fromkeys(PLOTS[:2] + PLOTS[4:8], 1)
    assert job_counts(plan(moved, {"evaluation": {"resamples": 200}})) == compared
    comparator = {"evaluation": {"comparators": ["single_pass"]}}
    assert job_counts(plan(moved, comparator)) == {**compared, "measure_convergence": 1}
    assert job_counts(plan(moved, {"report": {"measure": "mean_dice"}})) == compared | drawn


@pytest.mark.pipeline
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resamples": 200}, "contrasts.csv: was not made as asked: evaluation.resamples was 100, 200 is asked for"),
        ({"comparators": ["single_pass"]}, ".csv: was not made as asked: "),
    ],
)
def test_joined_tables_of_other_settings_are_refused_where_snakemake_was_told_to_keep_them(moved, changes, said):
    (moved / "results/demo/report.html").unlink()
    overrides = deepcopy(TINY)
    update_config(overrides, {"evaluation": changes})
    done = run_snakemake(moved, "--rerun-triggers", "mtime", overrides=overrides, root=moved)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (moved / "results/demo/report.html").exists()


@pytest.mark.pipeline
def test_another_title_writes_the_report_and_its_sheet_only(finished):
    assert job_counts(plan(finished, {"report": {"title": "Another"}})) == {"write_report": 1, "write_sheet": 1}


@pytest.mark.pipeline
def test_a_moved_checkout_plans_nothing(moved):
    assert job_counts(plan(moved)) == {}


@pytest.mark.pipeline
def test_a_model_predicts_new_images_and_is_exported_and_nothing_else_runs_again(moved):
    (moved / "new images").mkdir()
    for name, size in (("wide", (40, 20)), ("small", (7, 9))):
        Image.effect_noise(size, 50).save(moved / f"new images/{name}.png")
    asked = deepcopy(TINY) | {"prediction": {"images": "new images", "arm": "saliency", "resize": False}}
    process = run_snakemake(moved, "predict", "export", overrides=asked, root=moved)
    assert process.returncode == 0, process.stderr
    counts = job_counts(process.stdout + process.stderr)
    assert counts == dict.fromkeys(["predict_images", "export_model", "predict", "export"], 1)
    chain = "saliency/top_50/seed_1/iteration_2"
    folder = moved / "results/demo/predictions/new images" / chain
    assert (folder / "predictions.csv").is_file()
    assert {path.name for path in (folder / "labels").iterdir()} == {"small.png", "wide.png"}
    assert np.asarray(Image.open(folder / "overlays/wide.png")).shape == (20, 40, 3)
    network = load_model(moved / "results/demo" / chain / "model.safetensors").eval()
    images = torch.rand(3, 3, 8, 12)
    (logits,) = InferenceSession(moved / "results/demo" / chain / "model.onnx").run(None, {"images": images.numpy()})
    assert torch.allclose(torch.from_numpy(logits), network(images).detach(), atol=1e-4)
    assert job_counts(plan(moved, asked)) == {}


@pytest.mark.pipeline
def test_a_touched_library_plans_nothing(moved):
    for module in (moved / "scripts/spatial_reduction").rglob("*.py"):
        os.utime(module)
    assert job_counts(plan(moved)) == {}


@pytest.mark.pipeline
def test_comments_docstrings_annotations_and_layout_plan_nothing(moved):
    for path in (moved / "scripts").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.returns = ast.Constant("what it returns")
                node.body.insert(0, ast.Expr(ast.Constant("Another docstring.")))
        path.write_text("# A comment.\n\n" + ast.unparse(ast.fix_missing_locations(tree)) + "\n")
    assert job_counts(plan(moved)) == {}


@pytest.mark.pipeline
@pytest.mark.parametrize(
    ("old", "new"), [("(0.9, 0.999)", "(0.9, 0.99)"), ("loss < self.best *", "loss <= self.best *")]
)
def test_a_changed_constant_of_the_optimiser_trains_again(moved, old, new):
    path = moved / "scripts/spatial_reduction/training/optimizer.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert job_counts(plan(moved)) == {**ALL_CHAINS, **EXAMPLES, **TABLES, **REPORT}


@pytest.mark.pipeline
def test_results_are_kept_over_a_change_of_code_that_the_user_knows_to_be_harmless(moved):
    edit(moved / "scripts/spatial_reduction/training/epoch.py")
    assert job_counts(plan(moved)) == {**ALL_CHAINS, **EXAMPLES, **TABLES, **REPORT}
    assert job_counts(plan(moved, {"keep_code": True})) == {}
    assert job_counts(plan(moved)) != {}  # a dry run keeps nothing
    told = r"code: what .*\btrain_model\b.* computes has changed since these results were made"
    assert re.search(told, (moved / "stderr.txt").read_text())
    done = run_snakemake(moved, "--config", "keep_code=true", overrides=TINY, root=moved)
    assert "Nothing to be done" in done.stderr + done.stdout
    assert job_counts(plan(moved)) == {}
    edit(moved / "scripts/spatial_reduction/training/epoch.py")
    assert job_counts(plan(moved)) == {**ALL_CHAINS, **EXAMPLES, **TABLES, **REPORT}
    other = {"keep_code": True, "evaluation": {"margins": {"default": 1}}}
    assert set(job_counts(plan(moved, other))) == {*CONTRASTS, *END}


@pytest.mark.pipeline
def test_an_edit_of_the_plotting_module_draws_again_and_computes_nothing(moved):
    edit(moved / "scripts/spatial_reduction/report/figure_style.py")
    assert job_counts(plan(moved)) == {"plot_examples": 1, "plot_labels": 1, **REPORT}


@pytest.mark.pipeline
def test_an_edit_of_a_caption_writes_the_report_again_and_draws_nothing(moved):
    (moved / "workflow/report/ladder.rst").write_text("Other words.\n")
    assert job_counts(plan(moved)) == {"write_report": 1}


@pytest.mark.pipeline
def test_an_edit_of_a_saliency_source_concerns_the_arms_that_use_it(moved):
    edit(moved / "scripts/spatial_reduction/saliency/random.py")
    assert job_counts(plan(moved)) == {}
    edit(moved / "scripts/spatial_reduction/saliency/probability.py")
    counts = job_counts(plan(moved))
    assert counts == {**CHAIN, **EXAMPLES, **TABLES, **REPORT}


@pytest.mark.pipeline
def test_an_edit_of_a_script_runs_its_rule_again(moved):
    edit(moved / "scripts/plot_cost.py")
    assert job_counts(plan(moved)) == {"plot_cost": 1, **END}


def test_a_check_tells_what_would_stop_a_run_and_its_page_counts_the_jobs_that_are_planned(snakemake, tmp_path):
    overrides = TINY | {"report": {"images": 2, "sources": ["random"]}}
    classes = [{"name": name, "labels": [value]} for name, value in (("background", 2), ("pet", 1), ("border", 4))]
    process = snakemake("check", overrides=overrides | {"dataset": {**TINY["dataset"], "classes": classes}})
    assert process.returncode == 1
    assert "correct this: label values [3] belong to no class" in process.stderr
    page = (tmp_path / "results/demo/check.html").read_text()
    counted = re.findall(r"<tr><td>(\w+)</td><td>(\d+)</td></tr>", page.partition("Number of jobs of every rule")[2])
    shutil.rmtree(tmp_path / "results")
    planned = snakemake("--dry-run", overrides=overrides).stdout.rpartition("total ")[0].rpartition("Job stats:")[2]
    expected = dict(re.findall(r"^(\w+) +(\d+)$", planned, re.MULTILINE))
    del expected["all"]
    assert dict(counted) == expected
