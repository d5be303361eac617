"""Where files lie: the input functions and params of the rules, by name. No rules."""

import re
import unicodedata
from collections import Counter
from functools import cache


def checkout(path):
    """Return a path of this checkout, relative: a moved checkout reruns nothing."""
    return os.path.relpath(os.path.join(workflow.basedir, path))


@cache
def imported_modules(path):
    """List the library modules that a file imports; to parse the files would add 0.4 s to the start of every job."""
    with open(path) as source:
        return re.findall(r"^ *from spatial_reduction\.([\w.]+) import", source.read(), re.MULTILINE)


@cache
def module_files(module):
    """List the files that an import of a library module runs: its own, and `__init__.py` of each package above it."""
    library_folder = checkout("scripts/spatial_reduction")
    parts = module.split(".")
    folders = ["/".join([library_folder, *parts[:depth]]) for depth in range(len(parts) + 1)]
    own = [] if os.path.isdir(folders[-1]) else [f"{folders.pop()}.py"]
    return [*(f"{folder}/__init__.py" for folder in folders), *own]


@cache
def library(script, *modules):
    """List a script and the library modules that it imports, directly or not: an edit of one reruns the rule."""
    listed = {f"{checkout('scripts')}/{script}.py", *(file for module in modules for file in module_files(module))}
    queue = list(listed)
    while queue:
        imported = {file for module in imported_modules(queue.pop()) for file in module_files(module)}
        queue += imported - listed
        listed |= imported
    return tuple(sorted(listed))


def refuse_closed_folders():
    """Stop if a folder of `pathvars` that is written cannot be; Snakemake would stop with a traceback."""
    for key in ("results", "logs", "benchmarks"):
        folder = os.path.abspath(config["pathvars"][key])
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        refuse_unless(os.access(folder, os.W_OK), f"pathvars.{key}", f"{folder} cannot be written")


def raw_data(wildcards):
    """Folder of the raw pictures: the given one, or the one that is drawn or downloaded."""
    dataset = config["dataset"]
    return (
        dataset["root"]
        or {"synthetic": "<results>/synthetic_pets", "oxford_pet": "<resources>/oxford_pet"}[dataset["source"]]
    )


def split_lists(wildcards):
    """Files of names, for a split by lists."""
    split = config["dataset"]["split"]
    return list(split["lists"].values()) if split["method"] == "lists" else []


def dataset_section():
    """The section `dataset` without what the drawing alone depends on."""
    return {key: value for key, value in config["dataset"].items() if key != "synthetic"}


def iteration_file(chain, iteration, name):
    if iteration > 1:
        return f"<results>/{chain.arm}/top_{chain.threshold}/seed_{chain.seed}/iteration_{iteration}/{name}"
    if name == "mask.h5":
        return "<results>/intact_mask.h5"
    return f"<results>/{FIRST[chain.arm]}/top_100/seed_{chain.seed}/iteration_1/{name}"


def previous_model(wildcards):
    return iteration_file(wildcards, int(wildcards.iteration) - 1, "model.safetensors")


def previous_history(wildcards):
    return iteration_file(wildcards, int(wildcards.iteration) - 1, "history.csv")


def previous_mask(wildcards):
    return iteration_file(wildcards, int(wildcards.iteration) - 1, "mask.h5")


def chain_models(wildcards):
    iterations = ARMS[wildcards.arm]["reduction"]["iterations"]
    return [iteration_file(wildcards, i, "model.safetensors") for i in range(1, iterations + 1)]


# Functions, not lists: every job of a cluster reads these rules, and few need the thousands of files.
def chain_files(name):
    """Return the input function that lists one file of every chain."""

    def files_of(wildcards):
        return [f"<results>/{c.arm}/top_{c.threshold}/seed_{c.seed}/{name}" for c in CHAINS]

    return files_of


def iteration_files(name, first=1):
    """Return the input function that lists one file of every iteration of every chain, from iteration `first` on."""

    def files_of(wildcards):
        return [iteration_file(c, i, name) for c in CHAINS for i in range(first, c.iterations + 1)]

    return files_of


def iteration_labels(first=1):
    """Return the function that lists arm, threshold, seed and iteration of the files of `iteration_files`."""

    def labels_of(wildcards):
        return [[c.arm, c.threshold, c.seed, i] for c in CHAINS for i in range(first, c.iterations + 1)]

    return labels_of


def arm_section(section):
    def section_of(wildcards):
        return ARMS[wildcards.arm][section]

    return section_of


def arm_setting(*keys):
    def settings_of(wildcards):
        return {key: ARMS[wildcards.arm]["reduction"][key] for key in keys}

    return settings_of


PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")


def new_images(wildcards):
    """List the pictures of the folder `prediction.images`; before any job runs, so a wrong folder costs nothing."""
    folder = config["prediction"]["images"]
    refuse_unless(folder, "prediction.images", 'names no folder; try --config "prediction={images: path/to/folder}"')
    refuse_unless(os.path.isdir(folder), "prediction.images", f"{folder} is not a folder")
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(PICTURES) and name[0] != ".")
    refuse_unless(names, "prediction.images", f"{folder} holds no picture ({', '.join(PICTURES)})")
    stems = Counter(unicodedata.normalize("NFC", os.path.splitext(name)[0]) for name in names)
    twice = sorted(stem for stem, count in stems.items() if count > 1)
    refuse_unless(not twice, "prediction.images", f"{folder} holds more than one picture named {twice[:10]}")
    for name in names:
        is_text = not any("\ud800" <= character <= "\udfff" for character in name)
        refuse_unless(is_text, "prediction.images", f"{ascii(name)}: the name of a file is not UTF-8; rename it")
        check_path(name, "prediction.images")
    return [os.path.join(folder, name) for name in names]


def new_predictions(wildcards):
    """Table of the predictions that the configuration asks for, in a folder named as that of the images."""
    new_images(wildcards)
    folder = os.path.basename(os.path.abspath(config["prediction"]["images"]))
    return f"<results>/predictions/{folder}/{CHOSEN.arm}/top_{CHOSEN.threshold}/seed_{CHOSEN.seed}/iteration_{CHOSEN.iteration}/predictions.csv"


def exported_model(wildcards):
    return iteration_file(CHOSEN, CHOSEN.iteration, "model.onnx")


def chosen_model(wildcards):
    return iteration_file(wildcards, int(wildcards.iteration), "model.safetensors")


def saliency_code(wildcards):
    return library("compute_saliency", f"saliency.{ARMS[wildcards.arm]['reduction']['source']}")


def examples_code(wildcards):
    return library("render_examples", f"saliency.{ARMS[wildcards.arm]['reduction']['source']}")


def evaluation_code(wildcards):
    """Code of an evaluation: the oracle makes the masks of `label_masked`, the arm's source those of `self_masked`."""
    reduction = ARMS[wildcards.arm]["reduction"]
    own = [f"saliency.{reduction['source']}"] if reduction["iterations"] > 1 else []
    return library("evaluate_model", "saliency.oracle", *own)


def method_chains():
    """List the chains whose pictures are shown: of the arm that the report is about, with the first seed."""
    return [c for c in CHAINS if c.arm == config["report"]["method"] and c.seed == str(config["seeds"][0])]


def method_examples(wildcards):
    return f"<results>/{config['report']['method']}/top_{wildcards.threshold}/seed_{config['seeds'][0]}/examples.h5"


def examples_title(wildcards):
    return f"{config['report']['method']}, top {wildcards.threshold} %, seed {config['seeds'][0]}: test images"


def method_first_model(wildcards):
    """Model that all sources of saliency are asked: of iteration 1 of the arm that the report is about."""
    return iteration_file(method_chains()[0], 1, "model.safetensors")


def sources_code(wildcards):
    return library("render_sources", *(f"saliency.{source}" for source in config["report"]["sources"]))


def sources_table(wildcards):
    return ["<results>/sources.csv"] if config["report"]["sources"] else []


def figures():
    """List the figures by file name without suffix."""
    plots = ["contrasts", "thresholds", "iterations", "heat_map", "learning_curves", "robustness", "reliability"]
    plots += ["kept_pixels", "cost"]
    plots += [f"examples_top_{chain.threshold}" for chain in method_chains()]
    return plots + (["sources"] if config["report"]["sources"] else [])
