"""The configuration, checked: its form by the schema, then what the schema cannot say. No rules."""

import os

import yaml

with open(os.path.join(workflow.basedir, "workflow/schemas/config.schema.yaml")) as file:
    # Every job of a run reads this: the parser written in C takes a seventh of the time, where PyYAML was built with it.
    SCHEMA = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
check(config, SCHEMA)
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
check_names((DATASET["instances"] or {}).get("components_of") or [], CLASSES, "dataset.instances.components_of")
EVALUATION = config["evaluation"]
check_names([config["report"]["measure"]], EVALUATION["measures"], "report.measure")
check_names(EVALUATION["foreground"], CLASSES, "evaluation.foreground")
refuse_unless(len(EVALUATION["foreground"]) < len(CLASSES), "evaluation.foreground", "no class is left as background")
GROUPS = {group: names for group, names in EVALUATION["class_groups"].items() if names is not None}
for group, names in GROUPS.items():
    check_names(names, CLASSES, f"evaluation.class_groups.{group}")
check_names([config["report"]["class_group"]], ["all", *GROUPS], "report.class_group")
if EVALUATION["objects"]:
    check_names([EVALUATION["objects"]["class"]], CLASSES, "evaluation.objects.class")
# What a report is about: new images must not make it anew.
EXPERIMENT = {section: value for section, value in config.items() if section != "prediction"}
