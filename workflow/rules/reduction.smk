"""
Saliency of the last model -> smaller mask -> next model, for every arm, threshold, seed and iteration > 1.

    inputs:  <results>/dataset.h5 and model.safetensors, history.csv, mask.h5 of the iteration before
    outputs: <results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/
             saliency.h5 (temporary), mask.h5, kept_pixels.csv, model.safetensors, history.csv
"""


rule compute_saliency:
    """Score every pixel of the training images by the model of the iteration before."""
    input:
        dataset="<results>/dataset.h5",
        model=previous_model,
        mask=previous_mask,
        code=saliency_code,
    output:
        temp("<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/saliency.h5"),
    log:
        "<logs>/compute_saliency/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/compute_saliency/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=30,
    params:
        reduction=arm_setting("source", "rank", "shuffle", "saliency_images", "fill", "removes", "classes_of_interest"),
        device=config["training"]["device"],
        deterministic=config["training"]["deterministic"],
    script:
        "../../scripts/compute_saliency.py"


rule shrink_mask:
    """Keep the top per cent of the pixels that the iteration before kept, exactly as many in every image."""
    input:
        dataset="<results>/dataset.h5",
        saliency="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/saliency.h5",
        model=previous_model,
        mask=previous_mask,
        code=library("shrink_mask"),
    output:
        mask="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/mask.h5",
        table="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/kept_pixels.csv",
    log:
        "<logs>/shrink_mask/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/shrink_mask/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        reduction=arm_setting("schedule", "step"),
    script:
        "../../scripts/shrink_mask.py"


rule train_model:
    """Train on the kept pixels of the training images, from the weights of the iteration before."""
    input:
        dataset="<results>/dataset.h5",
        mask="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/mask.h5",
        previous_model=previous_model,
        previous_history=previous_history,
        code=library("train_model"),
    output:
        model="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/model.safetensors",
        history="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/history.csv",
    log:
        "<logs>/train_model/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/train_model/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    wildcard_constraints:
        iteration=r"[2-9]|[1-9]\d+",
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=240,
    params:
        model=arm_section("model"),
        training=arm_section("training"),
        removal=arm_setting("fill", "removes", "intact_share", "crop"),
        start=arm_setting("start"),
    script:
        "../../scripts/train_model.py"
