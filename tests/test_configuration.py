from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from snakemake.utils import update_config

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
EXPERIMENTS = sorted({path.name for path in (ROOT / "config").glob("*.yaml")} - {"config.yaml"})
NO_ARMS = dict.fromkeys(["single_pass", "equal_compute", "restarts", "saliency", "random", "oracle"])
SECTIONS = ["pathvars", "dataset", "dataset.split", "dataset.synthetic", "model", "training", "training.schedule"]
SECTIONS += ["reduction", "evaluation", "report"]


def nested(path, value):
    """Return {"a": {"b": value}} for the path "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def schema_error(config, overrides):
    """Return the best match among the errors of the configuration with its overrides, or None."""
    merged = deepcopy(config)
    update_config(merged, overrides)
    return best_match(Draft202012Validator(SCHEMA).iter_errors(merged))


def subschemas(schema, place="config"):
    """Yield (place, schema) of the schema and all below it, without the conditions (if, then)."""
    yield place, schema
    for key, value in {**schema.get("properties", {}), **schema.get("$defs", {})}.items():
        yield from subschemas(value, f"{place}.{key}")
    if "items" in schema:
        yield from subschemas(schema["items"], f"{place}.items")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_plans_with_a_folder_of_data(snakemake, tmp_path, name):
    (tmp_path / "raw").mkdir()
    overlay_of = {"laptop.yaml": ["oxford_pet.yaml"]}
    process = snakemake(
        "--dry-run",
        configfiles=[*overlay_of.get(name, []), name],
        overrides={"seeds": [1], "dataset": {"root": str(tmp_path / "raw")}},
    )
    assert process.returncode == 0, process.stderr
    assert f"results/{Path(name).stem}/report.html" in process.stdout
    assert "download_oxford_pet" not in process.stdout


def test_oxford_pet_without_a_folder_downloads_it(snakemake):
    process = snakemake("results/oxford_pet/dataset.h5", "--dry-run", configfiles=["oxford_pet.yaml"])
    assert process.returncode == 0, process.stderr
    assert "rule download_oxford_pet" in process.stdout


def test_an_arm_set_to_null_is_left_out(snakemake):
    process = snakemake("--dry-run", overrides={"seeds": [1], "arms": {"random": None, "oracle": None}})
    assert process.returncode == 0, process.stderr
    assert "results/demo/saliency/top_90" in process.stdout
    assert "results/demo/random" not in process.stdout
    assert "results/demo/oracle" not in process.stdout


def test_a_kept_share_may_grow_from_one_step(snakemake):
    growth = {"thresholds": [5], "schedule": "additive", "step": 5, "allow_growth": True}
    process = snakemake("results/demo/dataset.h5", "--dry-run", overrides={"reduction": growth})
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"seed": [1]}, "'seed'"),
        (nested("reduction.classes_of_interest", ["cat"]), "classes_of_interest"),
        (nested("evaluation.foreground", ["cat"]), "evaluation.foreground"),
        (nested("evaluation.class_groups", {"foreground": ["cat"]}), "evaluation.class_groups.foreground"),
        (nested("evaluation.comparators", ["nobody"]), "evaluation.comparators"),
        (nested("report.method", "nobody"), "report.method"),
        (nested("evaluation.measures", ["binary_iou"]), "report.measure"),
        (nested("arms.saliency", {"treshold": 50}), "'treshold'"),
        (nested("arms.saliency", {"thresholds": [0]}), "arms.saliency.reduction.thresholds"),
        (nested("arms.saliency", {"schedule": "additive", "step": 5}), "arms.saliency.reduction.step"),
        (nested("arms.saliency", {"schedule": "additive", "step": -70}), "arms.saliency.step"),
        (nested("arms.saliency", {"model": {"widths": [2, 2, 2, 2, 2]}}), "dataset.image_size"),
        (
            nested("dataset.classes", [{"name": "pet", "labels": [1]}, {"name": "pet", "labels": [2]}]),
            "dataset.classes",
        ),
        (nested("dataset.ignored_labels", [3]), "dataset.classes"),
        ({"arms": NO_ARMS}, "evaluation.comparators"),
    ],
    ids=str,
)
def test_a_wrong_configuration_is_refused_in_one_line(snakemake, overrides, key):
    process = snakemake("--dry-run", overrides=overrides)
    lines = [line for line in process.stderr.splitlines() if line.startswith("config: ")]
    assert process.returncode == 1
    assert len(lines) == 1
    assert key in lines[0]
    assert "Traceback" not in process.stderr


def test_the_embedded_configuration_agrees_with_the_schema(config):
    Draft202012Validator.check_schema(SCHEMA)
    assert schema_error(config, {}) is None


@pytest.mark.parametrize("section", SECTIONS)
def test_a_misspelt_key_is_refused(config, section):
    error = schema_error(config, nested(f"{section}.misspelt", 1))
    assert ".".join(error.absolute_path) == section
    assert "'misspelt' was unexpected" in error.message


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_is_a_number_is_refused(config, section):
    error = schema_error(config, nested(section, 1))
    assert ".".join(error.absolute_path) == section
    assert "is not of type 'object'" in error.message


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
        ("dataset.intensity_range", [0]),
        ("dataset.classes", [{"name": "pet", "labels": [1]}]),
        ("dataset.classes", ["background", "pet"]),
        ("dataset.split.validation_share", 100),
        ("dataset.synthetic.images", 11),
        ("model.widths", [8]),
        ("training.epochs", -1),
        ("training.epochs", 1.5),
        ("training.learning_rate", "1e-3"),
        ("training.learning_rate", 0),
        ("training.schedule.factor", 1),
        ("training.augmentation", ["rotate"]),
        ("reduction.thresholds", [0]),
        ("reduction.thresholds", [101]),
        ("reduction.thresholds", [50, 50.0]),
        ("reduction.iterations", 0),
        ("reduction.allow_growth", "yes"),
        ("reduction.source", "magic"),
        ("arms.Saliency", {}),
        ("arms.saliency", 1),
        ("evaluation.splits", ["validation"]),
        ("evaluation.class_groups.all", ["pet"]),
        ("evaluation.measures", ["accuracy"]),
        ("evaluation.margin", 0),
        ("evaluation.resamples", 99),
        ("report.images", 0),
        ("report.gate", 68),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(config, key, value):
    error = schema_error(config, nested(key, value))
    place = ".".join(map(str, error.absolute_path))
    assert place == key or place.startswith(f"{key}.") or repr(key.split(".")[-1]) in error.message


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (nested("dataset", {"source": "folder", "split": {"method": "random"}}), "dataset.root"),
        (nested("dataset", {"source": "folder", "root": "raw"}), "dataset.split.method"),
        (nested("dataset.split.method", "lists"), "dataset.split.lists"),
        (nested("dataset.split.lists", {"train": "a", "test": "b"}), "dataset.split.lists"),
        (nested("reduction", {"schedule": "additive", "step": 5}), "reduction.step"),
    ],
    ids=str,
)
def test_a_key_that_another_one_needs_is_asked_for(config, overrides, key):
    assert ".".join(schema_error(config, overrides).absolute_path) == key


def test_every_key_is_described():
    described = [
        f"{place}.{key}"
        for place, schema in subschemas(SCHEMA)
        for key, value in schema.get("properties", {}).items()
        if not {"description", "$ref"} & set(value)
    ]
    assert described == []


def test_every_section_is_closed():
    sections = {place: schema for place, schema in subschemas(SCHEMA) if "object" in schema.get("type", "")}
    opened = [
        place
        for place, schema in sections.items()
        if schema.get("additionalProperties") is not False and not isinstance(schema.get("additionalProperties"), dict)
    ]
    assert len(sections) > len(SECTIONS)
    assert opened == []
