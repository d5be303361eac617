"""
Raw pictures -> one data set file.

    inputs:  dataset.root, or nothing (drawn or downloaded)
    outputs: <results>/dataset.h5, <results>/intact_mask.h5
"""


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
localrules:
    download_oxford_pet,


rule download_oxford_pet:
    """Download the Oxford-IIIT Pet release and verify its checksums."""
    output:
        directory("<resources>/oxford_pet"),
    log:
        "<logs>/download_oxford_pet.log",
    benchmark:
        "<benchmarks>/download_oxford_pet.tsv"
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
        raw=raw_data,
        lists=split_lists,
    output:
        "<results>/dataset.h5",
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
        dataset=dataset_section(),
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
