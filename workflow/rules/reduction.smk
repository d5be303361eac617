"""
Saliency of the last model -> smaller mask -> next model, for every arm, threshold, seed and iteration > 1; before them
iteration 1, a network trained on intact images: the baseline, and the root of every chain that trains it alike.

    inputs:  <results>/dataset.h5, <results>/intact_mask.h5; model.safetensors, history.csv, mask.h5 of the iteration before
    outputs: <results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/
             saliency.h5 (temporary), mask.h5, kept_pixels.csv, model.safetensors, history.csv, validation_counts.h5
"""


rule compute_saliency:
    """Score every pixel of the training images by the model of the iteration before."""
    input:
        dataset="<results>/dataset.h5",
        model=previous_model,
        mask=previous_mask,
    output:
        temp("<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/saliency.h5"),
    log:
        "<logs>/compute_saliency/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/compute_saliency/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=GPUS,
        mem_mb=megabytes("compute_saliency", 4000),
        runtime=minutes("compute_saliency"),
    params:
        code=scoring_code("compute_saliency"),
        network=own_network,
        scoring=arm_settings("source", "rank", "shuffle", "saliency_images", "classes_of_interest"),
        removal=arm_settings("fill", "removes"),
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
    output:
        mask="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/mask.h5",
        table="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/kept_pixels.csv",
    log:
        "<logs>/shrink_mask/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/shrink_mask/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=megabytes("shrink_mask", 2000),
        runtime=minutes("shrink_mask"),
    params:
        code=code("shrink_mask"),
        reduction=arm_settings("schedule", "step", "intact_iteration"),
    script:
        "../../scripts/shrink_mask.py"


rule train_model:
    """Train on the kept pixels of the training images, from the weights of the iteration before."""
    input:
        dataset="<results>/dataset.h5",
        mask="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/mask.h5",
        previous_model=previous_model,
        previous_history=previous_history,
        encoder=first_encoder,
    output:
        model="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/model.safetensors",
        history="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/history.csv",
        validation_counts="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/validation_counts.h5",
    log:
        "<logs>/train_model/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/train_model/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    wildcard_constraints:
        iteration=r"[2-9]|[1-9]\d+",
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=GPUS,
        mem_mb=megabytes("train_model", 8000),
        runtime=minutes("train_model"),
    params:
        code=network_code("train_model"),
        model=lookup("{arm}/model", within=ARMS),
        training=lookup("{arm}/training", within=ARMS),
        removal=arm_settings("fill", "removes", "intact_share", "crop"),
        start=lookup("{arm}/reduction/start", within=ARMS),
    script:
        "../../scripts/train_model.py"


use rule train_model as train_single_pass with:
    """Train on the intact training images, from initial weights: iteration 1."""
    input:
        dataset="<results>/dataset.h5",
        mask="<results>/intact_mask.h5",
        encoder=first_encoder,
    output:
        model="<results>/{arm}/top_100/seed_{seed}/iteration_1/model.safetensors",
        history="<results>/{arm}/top_100/seed_{seed}/iteration_1/history.csv",
        validation_counts="<results>/{arm}/top_100/seed_{seed}/iteration_1/validation_counts.h5",
    log:
        "<logs>/train_single_pass/{arm}/seed_{seed}.log",
    benchmark:
        "<benchmarks>/train_single_pass/{arm}/seed_{seed}.tsv"
    params:
        removal={},  # nothing is removed
        start="scratch",  # nothing precedes it
