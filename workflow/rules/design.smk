"""The design that the configuration describes: the arms, their chains, the model for new images. No rules."""

import ast
import symtable
from copy import deepcopy
from hashlib import sha256
from types import SimpleNamespace

from snakemake.utils import update_config

MOST_MILLION_WEIGHTS = 1000  # of float32, with gradients and two moments: 16 GB
MOST_TRAININGS = 100_000  # Snakemake plans some 200 jobs a second
# The keys of each network and of each schedule. Those of the others are dropped: to change them reruns nothing.
NETWORK_KEYS = {
    "unet": {"widths", "padding", "dropout", "initialisation"},
    "sliding_window": {"widths", "window"},
    "encoder_unet": {"widths", "encoder", "weights", "freeze_normalisation"},
    "file": {"path", "class", "arguments", "stride", "bottleneck"},
}


SCHEDULE_KEYS = {"plateau": {"monitor", "factor", "patience"}, "cosine": {"warm_up"}, "one_cycle": {"warm_up"}}


def lay_over(overrides):
    """Return the sections model, training and reduction with an arm's overrides laid over them."""
    arm = deepcopy({section: config[section] for section in ("model", "training", "reduction")})
    sections = {key: value for key, value in overrides.items() if key in ("model", "training")}
    update_config(arm, {**sections, "reduction": {k: v for k, v in overrides.items() if k not in sections}})
    return arm


def refuse_wrong_arm(name, arm):
    """Refuse what an arm cannot be: by the schema, then by what its settings mean together."""
    for section, key in (("reduction", name), ("model", f"{name}.model"), ("training", f"{name}.training")):
        check(arm[section], {"$ref": f"#/$defs/{section}", "$defs": SCHEMA["$defs"]}, f"arms.{key}")
    model, training, reduction = arm["model"], arm["training"], arm["reduction"]
    interest, step = reduction["classes_of_interest"], reduction["step"]
    check_thresholds(config["arms"][name].get("thresholds", []), f"arms.{name}.thresholds")
    check_names(interest, CLASSES, f"arms.{name}.classes_of_interest")
    refuse_unless(
        len(interest) < len(CLASSES), f"arms.{name}.classes_of_interest", "all classes are of interest, so none is"
    )
    refuse_unless(
        reduction["schedule"] != "additive"
        or min(reduction["thresholds"]) + step * max(reduction["iterations"] - 2, 0) > 0,
        f"arms.{name}.step",
        "the kept share falls to 0 % or below",
    )
    refuse_unless(
        training["deterministic"] == config["training"]["deterministic"],
        f"arms.{name}.training.deterministic",
        "is one for all arms; set training.deterministic",
    )
    if model["name"] == "sliding_window":
        refuse_wrong_windows(name, arm)
    if model["name"] == "encoder_unet":
        refuse_wrong_encoder(name, arm)
    if model["name"] == "file":
        refuse_wrong_own_network(name, arm)
    check_source(reduction["source"], f"arms.{name}.source")
    millions = 30 * sum(width**2 for width in model["widths"]) // 10**6  # nine and eighteen weights a pair of channels
    what = f"{model['widths']} makes some {millions:,} million weights; {MOST_MILLION_WEIGHTS:,} million at most"
    refuse_unless(millions <= MOST_MILLION_WEIGHTS, f"arms.{name}.model.widths", what)
    is_padded = model["name"] == "unet" and model["padding"] == "same"
    stride = model["stride"] if model["name"] == "file" else 2 ** (len(model["widths"]) - 1) if is_padded else 1
    needs = "model.stride says" if model["name"] == "file" else f"{len(model['widths'])} widths need"
    refuse_unless(
        config["dataset"]["image_size"] % stride == 0,
        "dataset.image_size",
        f"{config['dataset']['image_size']} is not divisible by {stride}, as {needs} (arm {name})",
    )
    refuse_wrong_loss(name, arm)


def refuse_wrong_loss(name, arm):
    """Refuse weights in the loss that nothing has."""
    training, key = arm["training"], f"arms.{name}.training"
    refuse_unless(
        not (training["border_weight"] or {}).get("weight") or config["dataset"]["instances"],
        f"{key}.border_weight",
        "a weight above 0 needs objects; dataset.instances says what they are",
    )
    if isinstance(training["class_weights"], dict):
        check_names(training["class_weights"], CLASSES, f"{key}.class_weights")


def refuse_wrong_windows(name, arm):
    """Refuse windows that cannot be."""
    model = arm["model"]
    smallest = 2 ** (len(model["widths"]) + 1) - 3
    what = f"{model['window']} is below {smallest}, the least for {len(model['widths'])} widths (arm {name})"
    refuse_unless(model["window"] >= smallest, "model.window", what)
    what = "a sliding_window sees windows, a crop makes none cheaper"
    refuse_unless(not arm["reduction"]["crop"], f"arms.{name}.crop", what)
    what = "a sliding_window trains on single pixels, sampled evenly from the classes"
    for key in ("border_weight", "class_weights"):
        refuse_unless(arm["training"][key] is None, f"arms.{name}.training.{key}", what)


def refuse_wrong_encoder(name, arm):
    """Refuse images of which batch normalisation may see a single deepest feature, and weights that are not there."""
    model, is_cropped = arm["model"], arm["reduction"]["crop"]
    deepest = 2 ** len(model["widths"])
    least = config["dataset"]["image_size"] / (4 if is_cropped else 1)  # the least that a crop leaves of a side
    what = (
        f"{len(model['widths'])} widths make one feature of {deepest} pixels, and {'crops' if is_cropped else 'images'}"
    )
    what += f" of {least:g} may have no other; fewer widths, or freeze_normalisation: true"
    refuse_unless(least > deepest or model["freeze_normalisation"], f"arms.{name}.model.widths", what)
    given, key = model["weights"], f"arms.{name}.model.weights"
    if given not in (None, "imagenet"):
        check_path(given, key)
        what = f"{given}: no such file; imagenet has weights fetched, null draws them"
        refuse_unless(os.path.isfile(given), key, what)


def refuse_wrong_own_network(name, arm):
    """Ask for what a network of the user's lacks."""
    model, source, key = arm["model"], arm["reduction"]["source"], f"arms.{name}.model"
    what = f"{model['class']}: name a class, and its file in model.path or its package as package:Class"
    refuse_unless(model["class"] and (model["path"] is None) == (":" in model["class"]), f"{key}.class", what)
    if model["path"]:
        check_path(model["path"], f"{key}.path")
        refuse_unless(os.path.isfile(model["path"]), f"{key}.path", f"{model['path']}: no such file")
        refuse_without(model["path"], model["class"], f"{key}.class", "holds no class")
    what = "say by what the sides of its images must be divisible; 1 if they may have any size"
    refuse_unless(model["stride"], f"{key}.stride", what)
    what = f"name the layer whose features {source} weighs, as the network's named_modules() call it"
    refuse_unless(model["bottleneck"] or "grad_cam" not in source, f"{key}.bottleneck", what)


def check_source(source, key):
    """Refuse a source of the user's whose file is not there."""
    if source.endswith(".py"):
        check_path(source, key)
        refuse_unless(os.path.isfile(source), key, f"{source}: no such file")
        refuse_without(source, "stream_scores", key, "holds no function", "(blocks, context)")


def refuse_without(path, name, key, what, arguments=""):
    """Refuse a file of the user's that does not define a name: a job would miss it, after hours. Nothing of it is run."""
    with open(path, "rb") as file:
        text = file.read()
    try:
        tree, table = ast.parse(text), symtable.symtable(text, path, "exec")
    except (SyntaxError, ValueError) as error:
        refuse_unless(False, key, f"{path}, line {getattr(error, 'lineno', None) or 1}: {error.args[0]}")
    names = {each.get_name() for each in table.get_symbols() if each.is_assigned() or each.is_imported()}
    brings_any = any(isinstance(each, ast.ImportFrom) and each.names[0].name == "*" for each in ast.walk(tree))
    near = "".join(f"; did you mean {each}?" for each in get_close_matches(name, names, 1))
    refuse_unless(name in names or brings_any, key, f"{path} {what} {name}{arguments}{near}")


def resolve_arm(arm):
    """Return an arm as its jobs need it: epochs of the whole chain, thresholds as in paths, no key that means nothing."""
    model, training, reduction = arm["model"], arm["training"], arm["reduction"]
    model = {key: value for key, value in model.items() if key in {"name", *NETWORK_KEYS[model["name"]]}}
    if model["name"] != "sliding_window":
        training = {key: value for key, value in training.items() if key != "windows"}
    schedule = training["schedule"]
    schedule = {key: value for key, value in schedule.items() if key in {"kind", *SCHEDULE_KEYS[schedule["kind"]]}}
    training = {**training, "schedule": schedule}
    if reduction["train_for"] == "chain":
        training = {**training, "epochs": training["epochs"] * config["reduction"]["iterations"]}
    is_chain = reduction["iterations"] > 1
    thresholds = [f"{value:.10g}" for value in reduction["thresholds"]] if is_chain else ["100"]
    # Not the number of iterations: a chain that gets longer computes its first ones no second time.
    intact = reduction["iterations"] if is_chain and reduction["finish"] == "intact" else None
    reduction = {**reduction, "thresholds": thresholds, "intact_iteration": intact}
    return {"model": in_order(model), "training": in_order(training), "reduction": reduction}


def check_comparable(name, key):
    """Refuse to compare the method with an arm that removes pixels, but at no threshold as many."""
    method = config["report"]["method"]
    own, others = (ARMS[arm]["reduction"]["thresholds"] for arm in (name, method))
    what = f"{name} keeps {', '.join(own)} %, {method} {', '.join(others)} %; give them a threshold in common"
    refuse_unless(own == ["100"] or {*own} & {*others}, key, what)


WRITTEN = {name: lay_over(overrides) for name, overrides in config["arms"].items() if overrides is not None}
for name, arm in WRITTEN.items():
    refuse_wrong_arm(name, arm)
ARMS = {name: resolve_arm(arm) for name, arm in WRITTEN.items()}
refuse_unless(ARMS, "arms", "every arm is left out")
trainings = len(SEEDS) * sum(
    len(arm["reduction"]["thresholds"]) * arm["reduction"]["iterations"] for arm in ARMS.values()
)
refuse_unless(
    trainings <= MOST_TRAININGS,
    "arms",
    f"{trainings:,} trainings (arms x thresholds x seeds x iterations); {MOST_TRAININGS:,} at most can be planned",
)
check_names([config["report"]["method"]], ARMS, "report.method")
for key in ("comparators", "controls"):
    check_names(EVALUATION[key], ARMS, f"evaluation.{key}")
    for name in EVALUATION[key]:
        check_comparable(name, f"evaluation.{key}")
for asked in config["report"]["sources"]:
    check_source(asked, "report.sources")


def is_chain(arm):
    return ARMS[arm]["reduction"]["iterations"] > 1


def role_of(arm):
    """Return what an arm is for: the method, a baseline (never removes a pixel), a control of what the mask knows, or
    another variant of the method."""
    reduction = ARMS[arm]["reduction"]
    if arm == config["report"]["method"]:
        return "method"
    if reduction["thresholds"] == ["100"]:
        return "baseline"
    is_told_nothing = reduction["source"] in ("random", "random_blocks", "centre") or reduction["shuffle"]
    is_opposite = reduction["rank"] == "lowest" or reduction["source"] == "oracle" or reduction["fill"] == "mask"
    return "control" if is_told_nothing or is_opposite else "variant"


ROLES = {arm: role_of(arm) for arm in ARMS}


# Iteration 1 of an arm is that of an arm that trains it alike: computed once, shared. A single pass, if there is one:
# an arm that another file adds stands before all others here, and would move these files and rerun everything.
FIRST = {
    name: min(
        (other for other, its in ARMS.items() if (its["model"], its["training"]) == (arm["model"], arm["training"])),
        key=is_chain,
    )
    for name, arm in ARMS.items()
}
CHAINS = [
    SimpleNamespace(arm=name, threshold=threshold, seed=str(seed), iterations=arm["reduction"]["iterations"])
    for name, arm in ARMS.items()
    for threshold in arm["reduction"]["thresholds"]
    for seed in SEEDS
]


# What a mask of new images depends on.
MASKING = (
    "source",
    "rank",
    "shuffle",
    "fill",
    "removes",
    "classes_of_interest",
    "schedule",
    "step",
    "intact_iteration",
)
# The keys of `report` that the primary question depends on.
PRIMARY_QUESTION = {key: config["report"][key] for key in ("method", "measure", "class_group")}


def arm_settings(*keys):
    """Return the function that picks the settings of a reduction that a rule depends on."""

    def settings_of(wildcards):
        return {key: ARMS[wildcards.arm]["reduction"][key] for key in keys}

    return settings_of


# Functions, not lists: every job of a cluster reads these rules, and few need the thousands of chains.
def iteration_labels(first=1):
    """Return the function that lists arm, threshold, seed and iteration of the files of `iteration_files`."""

    def labels_of(wildcards):
        return [[c.arm, c.threshold, c.seed, i] for c in final_chains() for i in range(first, c.iterations + 1)]

    return labels_of


def chain_labels(wildcards):
    """List arm, threshold and seed of the files of `chain_files`."""
    return [[c.arm, c.threshold, c.seed] for c in final_chains()]


def method_chains():
    """List the chains whose pictures are shown: of the arm that the report is about, with the first seed."""
    return [c for c in CHAINS if c.arm == config["report"]["method"] and c.seed == str(SEEDS[0])]


def encoder_name(model):
    """Return the file name, without suffix, of the weights that an encoder begins with; None if they are random."""
    if not model.get("weights"):
        return None
    own = "" if model["weights"] == "imagenet" else f"-{sha256(model['weights'].encode()).hexdigest()[:8]}"
    return f"{model['encoder']}{own}"


ENCODERS = {encoder_name(arm["model"]): arm["model"] for arm in ARMS.values() if encoder_name(arm["model"])}


def resolve_prediction(prediction):
    """Fill in which model is applied to new images: arm, threshold, seed and iteration as they stand in its path."""
    arm = prediction["arm"] or config["evaluation"]["comparators"][0]
    check_names([arm], ARMS, "prediction.arm")
    thresholds, last = ARMS[arm]["reduction"]["thresholds"], ARMS[arm]["reduction"]["iterations"]
    threshold = thresholds[0] if prediction["threshold"] is None else f"{prediction['threshold']:.10g}"
    check_names([threshold], thresholds, "prediction.threshold")
    seed = SEEDS[0] if prediction["seed"] is None else prediction["seed"]
    check_names([seed], SEEDS, "prediction.seed")
    iteration = last if prediction["iteration"] == "last" else prediction["iteration"]
    refuse_unless(iteration <= last, "prediction.iteration", f"{iteration}, but arm {arm} ends with iteration {last}")
    return SimpleNamespace(arm=arm, threshold=threshold, seed=str(seed), iteration=iteration)


CHOSEN = resolve_prediction(config["prediction"])


wildcard_constraints:
    arm="|".join(ARMS),
    threshold=r"[0-9.]+",
    seed=r"\d+",
    iteration=r"\d+",
    folder=r"[^/]+",
    encoder=r"[^/]+",
