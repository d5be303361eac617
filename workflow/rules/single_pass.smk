"""
Iteration 1: a network trained on intact images. The baseline, and the root of every chain that trains it alike.

    inputs:  <results>/dataset.h5, <results>/intact_mask.h5
    outputs: <results>/{arm}/top_100/seed_{seed}/iteration_1/model.safetensors, history.csv
"""


use rule train_model as train_single_pass with:
    input:
        dataset="<results>/dataset.h5",
        mask="<results>/intact_mask.h5",
        code=library("train_model"),
    output:
        model="<results>/{arm}/top_100/seed_{seed}/iteration_1/model.safetensors",
        history="<results>/{arm}/top_100/seed_{seed}/iteration_1/history.csv",
    log:
        "<logs>/train_single_pass/{arm}/seed_{seed}.log",
    benchmark:
        "<benchmarks>/train_single_pass/{arm}/seed_{seed}.tsv"
    params:
        model=arm_section("model"),
        training=arm_section("training"),
        removal={},  # nothing is removed
        start={"start": "scratch"},  # nothing precedes it
