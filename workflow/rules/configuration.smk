"""The configuration, checked: its form by the schema, then what the schema cannot say. No rules."""

import os

import yaml
from snakemake.utils import update_config


def placed(path):
    """Return a path as the rules have it: with the prefix of a module, its path variables filled in."""
    return workflow.pathvars.apply(str(workflow.modifier.path_modifier.modify(path)))


def lay_over_defaults(given):
    """Lay what a module is given over the defaults, which Snakemake leaves out then; its folders are those of its rules."""
    with open(DEFAULTS, encoding="utf-8") as file:
        filled = yaml.safe_load(file)
    update_config(filled, given)
    given |= filled | {"pathvars": {key: placed(f"<{key}>") for key in filled["pathvars"]}}


def in_order(settings):
    """Return settings with their keys sorted: in which order a file names them reruns nothing."""
    if not isinstance(settings, dict):
        return settings
    return {key: in_order(settings[key]) for key in sorted(settings)}


def outside(path):
    """Return a file that no rule makes so that a module's prefix leaves it alone."""
    return os.path.abspath(path) if IS_MODULE else path


with open(os.path.join(CHECKOUT, "workflow/schemas/config.schema.yaml")) as file:
    # Every job of a run reads this: the parser written in C takes a seventh of the time, where PyYAML was built with it.
    SCHEMA = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
if IS_MODULE:
    lay_over_defaults(config)
if config["keep_code"] in ("true", "false"):  # Snakemake knows True and False alone on its command line
    config["keep_code"] = config["keep_code"] == "true"
check(config, SCHEMA)
check_path(CHECKOUT, "the folder of this workflow")
for key, path in config["pathvars"].items():
    check_folder(path, f"pathvars.{key}")
DATASET = config["dataset"]
for key, path in {
    "dataset.root": DATASET["root"],
    **{f"dataset.split.lists.{name}": path for name, path in (DATASET["split"]["lists"] or {}).items()},
    "prediction.images": config["prediction"]["images"],
}.items():
    check_path(path or "", key)
CLASSES = [entry["name"] for entry in DATASET["classes"]]
refuse_unless(len(set(CLASSES)) == len(CLASSES), "dataset.classes", f"a name stands twice in {CLASSES}")
RANGE = DATASET["intensity_range"]
refuse_unless(RANGE is None or RANGE[0] < RANGE[1], "dataset.intensity_range", f"{RANGE} is not [low, high]")
RAW = [label for entry in DATASET["classes"] for label in entry["labels"]] + DATASET["ignored_labels"]
refuse_unless(len(set(RAW)) == len(RAW), "dataset.classes", f"a label value stands twice in {sorted(RAW)}")
EVALUATION = config["evaluation"]
check_names([config["report"]["measure"]], EVALUATION["measures"], "report.measure")
GROUPS = {group: names for group, names in EVALUATION["class_groups"].items() if names is not None}
check_names([config["report"]["class_group"]], ["all", *GROUPS], "report.class_group")
check_class_names(
    CLASSES,
    {
        "dataset.instances.components_of": (DATASET["instances"] or {}).get("components_of"),
        "reduction.classes_of_interest": config["reduction"]["classes_of_interest"],
        "evaluation.foreground": EVALUATION["foreground"],
        "evaluation.objects.class": [EVALUATION["objects"]["class"]] if EVALUATION["objects"] else [],
        **{f"evaluation.class_groups.{group}": names for group, names in GROUPS.items()},
    },
)
refuse_unless(len(EVALUATION["foreground"]) < len(CLASSES), "evaluation.foreground", "no class is left as background")
check_thresholds(config["reduction"]["thresholds"], "reduction.thresholds")
for share, meaning in {"validation_share": "validates", "test_share": "tests"}.items():
    if DATASET["split"][share] < 1:
        warn(f"dataset.split.{share}", f"{DATASET['split'][share]} % of the images {meaning}; 20 is a fifth")
# Seeds are a list, or added by looks at the primary contrast until it is decided; then SEEDS are the most there can be.
LOOKS = config["seeds"]["looks"] if isinstance(config["seeds"], dict) else []
refuse_unless(LOOKS == sorted(LOOKS), "seeds.looks", f"{LOOKS} do not rise")
SEEDS = list(range(1, LOOKS[-1] + 1)) if LOOKS else config["seeds"]
# What a report is about: new images must not make it anew, nor other requests to a cluster, nor moved pictures or results.
ELSEWHERE = ("prediction", "keep_code", "cluster", "pathvars")
EXPERIMENT = {section: value for section, value in config.items() if section not in ELSEWHERE}
EXPERIMENT["dataset"] = {key: value for key, value in DATASET.items() if key != "root"}
