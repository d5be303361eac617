"""
Raw pictures -> one data set file.

    inputs:  dataset.root, or nothing (drawn or downloaded)
    outputs: <results>/dataset.h5, pictures.json (the files that it was made of), intact_mask.h5
"""

import hashlib
import time


def dataset_section(wildcards, input):
    """The section `dataset` with the folder of the pictures. It takes `input`, so Snakemake reruns nothing for it: a
    moved folder holds the same data."""
    return {**DATASET, "root": DATASET["root"] or input.raw}


def dataset_settings():
    """What a data set depends on beside its files."""
    settings = {key: value for key, value in DATASET.items() if key not in ("root", "synthetic")}
    return in_order(settings | {"split": {key: value for key, value in DATASET["split"].items() if key != "lists"}})


def listed_names(wildcards):
    """Digests of the files of names of a split by lists."""
    lists = DATASET["split"]["lists"] if DATASET["split"]["method"] == "lists" else {}
    digests = {}
    for split, path in lists.items():
        refuse_unless(os.path.isfile(path), f"dataset.split.lists.{split}", f"{path!r} is no file")
        with open(path, "rb") as file:
            digests[split] = hashlib.sha256(file.read()).hexdigest()[:32]
    return digests


@cache
def given_pictures():
    """Digest of the pictures below `dataset.root`; while they are those of the data set's list, that of the list."""
    root, library = DATASET["root"], library_module("data.picture_list")
    read = Remembered(library.content_digest, "picture_digests")
    digest, pairs, known = library.read_list(PICTURE_LIST) or ("", "", {})
    if known and not os.path.isdir(root) and {"predict", "export"} >= set(workflow.dag_settings.targets) > set():
        return digest  # a model is applied or handed on: no picture that it learnt from is needed
    refuse_unless(os.path.isdir(root), "dataset.root", f"{root!r} is no folder")
    try:
        said, files = library.list_files(root, DATASET)
        changes = library.compare_files(files, known, read)
        now = library.digest_files(said, files)
    except library.InputError as error:
        refuse_unless(False, "dataset.root", str(error))
    read.keep()
    if known and said == pairs and not changes.told():
        return digest
    if known and workflow.is_main_process:
        since = time.strftime("%d %B %Y, %H:%M", time.localtime(os.path.getmtime(PICTURE_LIST)))
        told = changes.told() or "the groups or the official split changed"
        print(located("dataset.root", f"{told}; dataset.h5 is of {since}"), file=sys.stderr)
    return now


def pictures(wildcards):
    """Digest of the pictures and labels that the layout uses; those that this workflow makes are inputs.

    A plan asks it of every result, for all come of the data set, and once all rules are known; so what looks at the
    whole plan stands here.
    """
    if workflow.is_main_process:
        look_at_plan()
    return given_pictures() if DATASET["root"] else ""


rule draw_synthetic_pets:
    """Draw pets on cluttered backgrounds, as files in the Oxford-IIIT Pet layout."""
    output:
        directory("<results>/synthetic_pets"),
    log:
        "<logs>/draw_synthetic_pets.log",
    benchmark:
        "<benchmarks>/draw_synthetic_pets.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("draw_synthetic_pets"),
        synthetic=config["dataset"]["synthetic"],
        test_share=config["dataset"]["split"]["test_share"],
    script:
        "../../scripts/draw_synthetic_pets.py"


# Nodes of a cluster often have no network.
rule download_oxford_pet:
    """Download the Oxford-IIIT Pet release and verify its checksums."""
    output:
        directory("<resources>/oxford_pet"),
    log:
        "<logs>/download_oxford_pet.log",
    benchmark:
        "<benchmarks>/download_oxford_pet.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        runtime=240,
    params:
        code=code("download_oxford_pet"),
    script:
        "../../scripts/download_oxford_pet.py"


rule prepare_dataset:
    """Decode, resize, split and store all images and labels in one file."""
    input:
        raw=made_data,
    output:
        dataset="<results>/dataset.h5",
        pictures="<results>/pictures.json",
    log:
        "<logs>/prepare_dataset.log",
    benchmark:
        "<benchmarks>/prepare_dataset.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 64
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code("prepare_dataset"),
        settings=dataset_settings(),
        pictures=pictures,
        lists=listed_names,
        dataset=dataset_section,
    script:
        "../../scripts/prepare_dataset.py"


rule write_intact_mask:
    """Keep every pixel of every training image: the mask of iteration 1."""
    input:
        dataset="<results>/dataset.h5",
    output:
        "<results>/intact_mask.h5",
    log:
        "<logs>/write_intact_mask.log",
    benchmark:
        "<benchmarks>/write_intact_mask.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("write_intact_mask"),
    script:
        "../../scripts/write_intact_mask.py"
