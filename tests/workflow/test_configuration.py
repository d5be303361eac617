import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from snakemake.utils import update_config

from experiments import ROOT, SCHEMA, nested
from spatial_reduction.report.data_check import PASSES

EXPERIMENTS = sorted({path.name for path in (ROOT / "config").glob("*.yaml")} - {"config.yaml"})
OVERLAYS = ["laptop.yaml", "ablation.yaml", "full.yaml", "a_a.yaml", "sliding_window.yaml", "pretrained.yaml"]
OVERLAYS += ["answer_pretrained.yaml", "answer_saturated.yaml", "answer_small.yaml", "networks.yaml"]
OVERLAYS = dict.fromkeys(OVERLAYS, "oxford_pet.yaml")
DRAWN = {"planted.yaml"}
LIKE_ISBI = ["nuclei.yaml", "cell_tracking.yaml"]  # checked below; planned, they would cost as much as isbi2012.yaml
OVER_OTHERS = ["published.yaml", "answer_microscopy.yaml", "answer_nuclei.yaml", "answer_controls.yaml"]
SECTIONS = ["pathvars", "dataset", "dataset.split", "dataset.synthetic", "model", "training", "training.schedule"]
SECTIONS += ["reduction", "evaluation", "prediction", "report"]
OBJECTS = {"class": "pet", "connectivity": 1, "minimum_size": 1}
OBJECT_MEASURES = SCHEMA["$defs"]["object_measure"]["enum"]
NO_ARMS = dict.fromkeys(["single_pass", "equal_compute", "restarts", "saliency", "shuffled"])
WINDOWS = {"name": "sliding_window", "widths": [4, 8, 16], "window": 13}
CONNECTED = {"components_of": ["pet"], "border": 0}
WEIGHTED = {"weight": 10, "sigma": 5}
TWICE_NAMED = [{"name": "pet", "labels": [1]}, {"name": "pet", "labels": [2]}]


def subschemas(schema, place="config"):
    """Yield (place, schema) of the schema and all below it, without the conditions (if, then)."""
    yield place, schema
    for key, value in {**schema.get("properties", {}), **schema.get("$defs", {})}.items():
        yield from subschemas(value, f"{place}.{key}")
    if "items" in schema:
        yield from subschemas(schema["items"], f"{place}.items")


# The least that a folder of each layout holds; a plan reads no picture.
LEAST = {
    "oxford_pet": ["images/cat_1.jpg", "annotations/trimaps/cat_1.png"],
    "folder": ["images/a.png", "masks/a.png"],
    "instances": ["images/a.png", "instances/a.png"],
    "isbi2012": ["train/image/0.png", "train/label/0.png"],
    "cell_tracking": ["01/t000.tif", "01_GT/SEG/man_seg000.tif"],
}


def write_least_folders(root, source):
    for name in LEAST[source]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name in ("trainval", "test") if source == "oxford_pet" else ():
        (root / f"annotations/{name}.txt").write_text("cat_1 1 1 1\n" if name == "test" else "")


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in LIKE_ISBI + OVER_OTHERS])
def test_every_experiment_plans_with_a_folder_of_data(snakemake, tmp_path, name):
    base = ROOT / "config" / OVERLAYS.get(name, name)
    source = yaml.safe_load(base.read_text()).get("dataset", {}).get("source", "oxford_pet")
    write_least_folders(tmp_path / "raw", source if source in LEAST else "oxford_pet")
    smaller = {"reduction": {"iterations": 2, "thresholds": [90]}} if name in OVERLAYS else {}
    data = {} if name in DRAWN else {"dataset": {"root": str(tmp_path / "raw")}}
    process = snakemake(
        "--dry-run",
        configfiles=[OVERLAYS[name], name] if name in OVERLAYS else [name],
        overrides={"seeds": [1], **data} | smaller,
    )
    assert process.returncode == 0, process.stderr
    assert f"results/{Path(name).stem}/report.html" in process.stdout
    assert "download_oxford_pet" not in process.stdout


@pytest.mark.parametrize("name", LIKE_ISBI)
def test_a_preset_of_microscopy_passes_the_checks_once_it_has_a_folder(checked, refusal, name):
    preset = yaml.safe_load((ROOT / "config" / name).read_text())
    assert refusal(preset).startswith("dataset.root: ")
    preset["dataset"]["root"] = "raw"
    assert checked(preset)["CLASSES"][2] == "border"


def arms_laid_over(checked, *names):
    """Return the arms of experiments of config/ laid over each other."""
    merged = {}
    for each in names:
        update_config(merged, yaml.safe_load((ROOT / "config" / each).read_text()))
    return checked(merged | {"dataset": merged["dataset"] | {"root": "raw"}})["ARMS"]


@pytest.mark.parametrize("name", ["my_pictures.yaml", "laptop.yaml"])
def test_the_pretrained_network_lies_over_other_experiments(checked, name):
    below = ["oxford_pet.yaml", name] if name == "laptop.yaml" else [name]
    arms = arms_laid_over(checked, *below, "pretrained.yaml")
    assert arms.keys() == arms_laid_over(checked, *below).keys()
    assert {arm["model"]["name"] for arm in arms.values()} == {"encoder_unet"}
    assert {arm["training"]["schedule"]["kind"] for arm in arms.values()} == {"one_cycle"}


@pytest.mark.parametrize("data", ["isbi2012.yaml", "nuclei.yaml"])
@pytest.mark.parametrize(("network", "name"), [("pretrained.yaml", "encoder_unet"), ("published.yaml", "unet")])
def test_the_question_is_asked_of_microscopy_with_both_networks(checked, data, network, name):
    arms = arms_laid_over(checked, data, network, "answer_microscopy.yaml")
    assert arms.keys() == {"single_pass", "restarts", "saliency"}
    assert {arm["model"]["name"] for arm in arms.values()} == {name}
    assert name == "encoder_unet" or {arm["model"]["padding"] for arm in arms.values()} == {"valid"}


@pytest.mark.parametrize(
    "below", [["pretrained.yaml", "answer_pretrained.yaml"], ["laptop.yaml", "answer_saturated.yaml"]]
)
def test_the_controls_lie_over_an_answer_and_change_no_arm_of_it_nor_its_seeds(checked, below):
    below = ["oxford_pet.yaml", *below]
    answer, controls = arms_laid_over(checked, *below), arms_laid_over(checked, *below, "answer_controls.yaml")
    assert controls.keys() - answer.keys() == {"equal_compute", "shuffled", "random", "loss_only", "finish_intact"}
    assert {name: controls[name] for name in answer} == answer
    assert "seeds" not in yaml.safe_load((ROOT / "config/answer_controls.yaml").read_text())


@pytest.mark.parametrize("name", ["my_pictures.yaml", "my_instances.yaml"])
def test_a_template_names_its_class_once_and_nothing_of_the_demo(checked, refusal, name):
    text = (ROOT / "config" / name).read_text()
    assert text.count("&object object") == 1
    renamed = yaml.safe_load(text.replace("&object object", "&object cell"))
    assert refusal(renamed).startswith("dataset.root: names no folder")
    renamed["dataset"]["root"] = "raw"
    settings = checked(renamed)["config"]
    assert "cell" in settings["evaluation"]["foreground"]
    assert "Drawn" not in settings["report"]["title"]
    assert settings["pathvars"]["results"] == f"results/{Path(name).stem}"


def test_oxford_pet_without_a_folder_downloads_it(snakemake):
    process = snakemake("results/oxford_pet/dataset.h5", "--dry-run", configfiles=["oxford_pet.yaml"])
    assert process.returncode == 0, process.stderr
    assert "rule download_oxford_pet" in process.stdout


def test_an_arm_set_to_null_is_left_out(snakemake):
    without = {"arms": {"restarts": None}, "evaluation": {"comparators": ["single_pass"]}}
    process = snakemake("--dry-run", overrides={"seeds": [1], **without})
    assert process.returncode == 0, process.stderr
    assert "results/demo/saliency/" in process.stdout
    assert "results/demo/restarts/" not in process.stdout


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"seed": [1]}, "'seed'"),
        (nested("arms.saliency.thresholds", [0]), "arms.saliency.thresholds"),
        (nested("dataset.image_size", 42), "dataset.image_size"),
        (nested("evaluation.comparators", ["nobody"]), "evaluation.comparators"),
        (nested("evaluation.controls", ["nobody"]), "evaluation.controls"),
    ],
)
def test_a_wrong_configuration_stops_the_dry_run_in_one_line(snakemake, overrides, key):
    process = snakemake("--dry-run", overrides=overrides)
    lines = [line for line in process.stderr.splitlines() if line.startswith("config: ")]
    assert process.returncode == 1
    assert len(lines) == 1
    assert key in lines[0]
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("section", SECTIONS)
def test_a_misspelt_key_is_refused(refusal, section):
    line = refusal(nested(f"{section}.misspelt", 1))
    assert line.startswith(f"{section}: Additional properties are not allowed ('misspelt' was unexpected)")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_is_a_number_is_refused(refusal, section):
    assert refusal(nested(section, 1)).startswith(f"{section}: 1 is not of type 'object'")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pathvars.results", "two words"),
        ("seeds", []),
        ("seeds", [1, 1]),
        ("seeds", ["one"]),
        ("dataset.source", "imagenet"),
        ("dataset.root", "drawn/pets/have/no/root"),
        ("dataset.image_size", 32.5),
        ("dataset.image_size", 42),
        ("dataset.intensity_range", [0]),
        ("dataset.instances", {"border": 1}),
        ("dataset.classes", [{"name": "pet", "labels": [1]}]),
        ("dataset.classes", ["background", "pet"]),
        ("dataset.classes", TWICE_NAMED),
        ("dataset.split.validation_share", 100),
        ("dataset.synthetic.images", 11),
        ("dataset.synthetic.shortcut", 101),
        ("dataset.synthetic.shortcut_in_test", None),
        ("model.widths", [8]),
        ("model.name", "forest"),
        ("model.window", 64),
        ("training.windows", 0),
        ("model.padding", "reflect"),
        ("model.dropout", 1),
        ("model.initialisation", "xavier"),
        ("training.epochs", -1),
        ("training.epochs", 1.5),
        ("training.learning_rate", "1e-3"),
        ("training.learning_rate", 0),
        ("training.schedule.factor", 1),
        ("training.augmentation", ["stretch"]),
        ("training.border_weight", WEIGHTED | {"sigma": 0}),
        ("training.border_weight", {"weight": 10}),
        ("reduction.thresholds", [0]),
        ("reduction.thresholds", [101]),
        ("reduction.thresholds", [50, 50.0]),
        ("reduction.iterations", 0),
        ("reduction.allow_growth", "yes"),
        ("reduction.source", "magic"),
        ("reduction.rank", "middle"),
        ("reduction.shuffle", 1),
        ("reduction.removes", "output"),
        ("reduction.intact_share", 101),
        ("arms.saliency", 1),
        ("evaluation.splits", ["validation"]),
        ("evaluation.protocols", ["self_masked", "noise"]),
        ("evaluation.protocols", ["intact", "noise_1"]),
        ("evaluation.class_groups.pets", ["cat"]),
        ("evaluation.class_groups.foreground", ["cat"]),
        ("evaluation.foreground", ["cat"]),
        ("evaluation.foreground", ["background", "pet", "border"]),
        ("evaluation.comparators", ["nobody"]),
        ("evaluation.measures", ["accuracy"]),
        ("evaluation.objects", {"class": "pet"}),
        ("evaluation.objects", OBJECTS | {"class": "cat"}),
        ("evaluation.objects", OBJECTS | {"connectivity": 8}),
        ("evaluation.objects", OBJECTS | {"minimum_size": 0}),
        ("evaluation.test_time_augmentation", 7),
        ("evaluation.margins.default", 0),
        ("evaluation.resamples", 99),
        ("prediction.images", 1),
        ("prediction.arm", "nobody"),
        ("prediction.threshold", 95),
        ("prediction.seed", 99),
        ("prediction.iteration", "first"),
        ("prediction.iteration", 1001),
        ("prediction.tile", 0),
        ("report.method", "nobody"),
        ("report.images", 0),
        ("report.least_baseline_iou", 68),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_its_key(refusal, key, value):
    assert refusal(nested(key, value)).startswith((f"{key}: ", f"{key}."))


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (nested("arms.Saliency", {}), "arms: 'Saliency'"),
        (nested("evaluation.margins.no_measure", 1), "evaluation.margins: 'no_measure'"),
        (nested("arms.saliency.treshold", [50]), "arms.saliency: "),
        (nested("arms.saliency.source", "magic"), "arms.saliency.source: "),
        (nested("arms.saliency.training", {"epochs": 0}), "arms.saliency.training.epochs: "),
        (nested("arms.saliency.classes_of_interest", ["cat"]), "arms.saliency.classes_of_interest: "),
        (nested("arms.saliency.classes_of_interest", ["pet", "border", "background"]), "arms.saliency.classes_of"),
        (
            {"dataset": {"image_size": 40}} | nested("arms.saliency.model", {"widths": [2, 2, 2, 2, 2]}),
            "dataset.image_size: 40 is not divisible by 16",
        ),
        (
            {"model": {**WINDOWS, "window": 11}},
            "model.window: 11 is below 13, the least for 3 widths (arm single_pass)",
        ),
        ({"model": WINDOWS, "arms": {"crop": {"crop": True}}}, "arms.crop.crop: "),
        (nested("arms.saliency", {"schedule": "additive", "step": 5}), "arms.saliency.step: "),
        (
            nested("arms.saliency", {"iterations": 3, "schedule": "additive", "step": -70}),
            "arms.saliency.step: the kept share falls",
        ),
        (nested("reduction", {"schedule": "additive", "step": 5}), "reduction.step: "),
        (nested("arms.saliency", {"crop": True, "intact_share": 50}), "arms.saliency.intact_share: "),
        (nested("dataset", {"source": "folder", "split": {"method": "random"}}), "dataset.root: "),
        (nested("dataset", {"source": "folder", "root": "raw"}), "dataset.split.method: "),
        (nested("dataset", {"source": "isbi2012", "split": {"method": "ordered"}}), "dataset.root: "),
        (nested("dataset", {"source": "cell_tracking", "root": "raw"}), "dataset.instances: "),
        (nested("dataset", {"source": "instances", "root": "raw", "split": {"method": "official"}}), "dataset."),
        (
            nested("dataset", {"source": "cell_tracking", "root": "raw", "instances": CONNECTED}),
            "dataset.instances.components_of: ",
        ),
        (nested("dataset.instances", CONNECTED | {"border": 1}), "dataset.instances.border: "),
        (nested("dataset.instances", {"components_of": None, "border": 0}), "dataset.instances.components_of: "),
        (
            nested("dataset.instances", {"components_of": ["cat"], "border": 0}),
            "dataset.instances.components_of: unknown",
        ),
        (nested("training.border_weight", WEIGHTED), "arms.single_pass.training.border_weight: a weight above 0 needs"),
        (nested("arms.saliency.training.border_weight", WEIGHTED), "arms.saliency.training.border_weight: a weight"),
        (nested("arms.saliency.training.deterministic", True), "arms.saliency.training.deterministic: is one for all"),
        (nested("dataset.split.method", "lists"), "dataset.split.lists: "),
        (nested("dataset.split.lists", {"train": "a", "test": "b"}), "dataset.split.lists: "),
        (nested("dataset.ignored_labels", [3]), "dataset.classes: a label value stands twice"),
        (nested("evaluation.class_groups.all", ["pet"]), "evaluation.class_groups: 'all'"),
        (nested("evaluation.measures", ["binary_iou"]), "report.measure: "),
        (nested("evaluation.measures", ["mean_iou", "seg"]), "evaluation.measures.1: 'seg' should not be valid"),
        (nested("report.measure", "seg"), "report.measure: unknown ['seg']"),
        ({"arms": NO_ARMS}, "arms: every arm is left out"),
    ],
    ids=str,
)
def test_keys_that_disagree_are_refused(refusal, overrides, key):
    assert refusal(overrides).startswith(key)


def test_objects_are_measured_where_they_are_asked_for(checked, refusal):
    asked = {"objects": OBJECTS, "measures": ["mean_iou", *OBJECT_MEASURES]}
    for measure in OBJECT_MEASURES:
        assert (
            checked({"evaluation": asked, "report": {"measure": measure}})["config"]["evaluation"]["objects"] == OBJECTS
        )
    line = refusal({"evaluation": asked | {"objects": None}})
    assert "\n" not in line
    assert line.endswith("(A measure of objects needs evaluation.objects.)")


def test_a_kept_share_may_grow_from_a_single_step(checked):
    growth = {"thresholds": [5], "schedule": "additive", "step": 5, "allow_growth": True}
    assert checked({"reduction": growth})["ARMS"]["saliency"]["reduction"]["thresholds"] == ["5"]


def test_an_arm_that_finishes_intact_does_so_in_its_last_iteration(checked):
    arms = checked({"arms": {"finishing": {"finish": "intact", "iterations": 4}, "once": {"iterations": 1}}})["ARMS"]
    found = {name: arms[name]["reduction"]["intact_iteration"] for name in ("finishing", "saliency", "once")}
    assert found == {"finishing": 4, "saliency": None, "once": None}


ABLATION = {"single_pass", "equal_compute", "restarts", "saliency", "random", "oracle"}
ABLATION |= {"shuffled", "inverse", "mask_only", "loss_only", "mixed", "fill_linear", "finish_intact"}
FULL = ABLATION | {"random_blocks", "centre", "fresh", "input_and_loss", "scratch"}
FULL |= {"fill_mean", "fill_blur", "fill_noise", "crop"}
FULL |= {f"saliency_{source}" for source in ("entropy", "grad_cam", "iterative_grad_cam", "integrated_gradients")}
FULL |= {"saliency_superpixel", "saliency_active"}


@pytest.mark.parametrize(("name", "expected"), [("ablation", ABLATION), ("full", FULL)])
def test_a_set_of_arms_is_complete_and_shares_iteration_1(checked, name, expected):
    overlay = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    defined = checked(overlay)
    assert set(defined["ARMS"]) == expected
    assert set(defined["FIRST"].values()) == {"single_pass", "equal_compute"}


def test_equal_compute_trains_as_long_as_a_whole_chain(checked):
    arm = {"equal_compute": {"iterations": 1, "train_for": "chain"}}
    arms = checked({"arms": arm, "training": {"epochs": 8}, "reduction": {"iterations": 3}})["ARMS"]
    assert arms["equal_compute"]["training"]["epochs"] == 8 * 3
    assert arms["saliency"]["training"]["epochs"] == 8


def test_an_arm_has_the_keys_of_its_own_network_only(checked):
    odd = {"dataset": {"image_size": 41}, "model": WINDOWS}  # a sliding window takes images of any size
    arms = checked({"arms": {"sliding": {"model": WINDOWS}}})["ARMS"]
    assert arms["sliding"]["model"] == checked(odd)["ARMS"]["saliency"]["model"] == WINDOWS
    assert arms["sliding"]["training"]["windows"] == 64
    assert "window" not in arms["saliency"]["model"]
    assert "windows" not in arms["saliency"]["training"]


def test_an_unpadded_network_takes_images_of_any_size(checked):
    assert checked({"dataset": {"image_size": 41}, "model": {"padding": "valid"}})["ARMS"]


def test_the_model_that_predicts_is_the_last_of_the_primary_comparator_unless_another_is_named(checked):
    chosen = checked({})["CHOSEN"]
    assert vars(chosen) == {"arm": "restarts", "threshold": "100", "seed": "1", "iteration": 2}
    chosen = checked({"prediction": {"arm": "saliency", "threshold": 50.0, "seed": 2, "iteration": 1}})["CHOSEN"]
    assert vars(chosen) == {"arm": "saliency", "threshold": "50", "seed": "2", "iteration": 1}


def test_every_key_is_described():
    Draft202012Validator.check_schema(SCHEMA)
    undescribed = [
        f"{place}.{key}"
        for place, schema in subschemas(SCHEMA)
        for key, value in schema.get("properties", {}).items()
        if not {"description", "$ref"} & set(value)
    ]
    assert undescribed == []


def test_every_key_is_in_the_reference():
    text = (ROOT / "config/README.md").read_text()
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))
    keys = {
        f"{place}.{key}": key
        for place, schema in subschemas(SCHEMA)
        if place != "config"
        for key in schema.get("properties", {})
    }
    assert len(keys) > 100
    assert [place for place, key in keys.items() if not re.search(rf"\b{key}\b", code)] == []


def test_every_source_of_saliency_has_a_cost_in_the_estimate_of_a_check():
    assert set(PASSES) == set(SCHEMA["$defs"]["source"]["anyOf"][0]["enum"])


def test_every_section_is_closed():
    closed = {
        place: schema.get("additionalProperties") is False or isinstance(schema.get("additionalProperties"), dict)
        for place, schema in subschemas(SCHEMA)
        if "object" in schema.get("type", "")
    }
    assert len(closed) > len(SECTIONS)
    assert all(closed.values()), closed


def test_gold_and_silver_truth_are_of_the_cell_tracking_challenge_alone(refusal):
    assert "Only the source cell_tracking has gold and silver truth" in refusal({"dataset": {"truth": "silver"}})


def test_the_configuration_of_the_working_folder_lies_over_the_defaults_and_below_the_named_files(snakemake, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("seeds: [7, 8]\ntraining: {epochs: 4}\n")
    done = snakemake("--dry-run", overrides={"seeds": [9], "arms": {"random": None, "oracle": None}})
    assert done.returncode == 0, done.stderr
    assert f"configuration: {ROOT}/config/config.yaml, config/config.yaml, overrides.yaml\n" in done.stderr
    assert "seed_9" in done.stdout
    assert "seed_7" not in done.stdout
    done = snakemake("--dry-run", overrides={"training": {"epochs": 0}})
    assert done.returncode == 1
    (tmp_path / "config/config.yaml").write_text("seed: [7]\n")
    done = snakemake("--dry-run")
    assert "'seed' was unexpected" in done.stderr


def test_a_file_of_data_after_what_changes_it_is_refused(snakemake):
    done = snakemake("--dry-run", configfiles=["laptop.yaml", "oxford_pet.yaml"])
    assert done.returncode == 1
    assert "oxford_pet.yaml: describes the data; name it before " in done.stderr
