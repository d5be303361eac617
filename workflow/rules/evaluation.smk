"""
Models -> measures -> tables of the whole experiment.

    inputs:  <results>/dataset.h5; model.safetensors, history.csv, kept_pixels.csv of every iteration
    outputs: metrics.csv and counts.h5 of every chain;
             <results>/metrics.csv, history.csv, kept_pixels.csv, references.csv, convergence.csv, contrasts.csv,
             interactions.csv, racu.csv, seeds_seen.json; origins/RULE.json: what made these tables
"""


rule evaluate_model:
    """Measure the models of a chain on intact images, and the last one by every test protocol."""
    input:
        dataset="<results>/dataset.h5",
        models=chain_models,
    output:
        metrics="<results>/{arm}/top_{threshold}/seed_{seed}/metrics.csv",
        counts="<results>/{arm}/top_{threshold}/seed_{seed}/counts.h5",
    log:
        "<logs>/evaluate_model/{arm}/top_{threshold}/seed_{seed}.log",
    benchmark:
        "<benchmarks>/evaluate_model/{arm}/top_{threshold}/seed_{seed}.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=GPUS,
        mem_mb=megabytes("evaluate_model", 4000),
        runtime=minutes("evaluate_model"),
    params:
        code=evaluation_code,
        network=own_network,
        evaluation={
            "class_groups": GROUPS,
            **{
                key: config["evaluation"][key]
                for key in ("splits", "protocols", "foreground", "objects", "test_time_augmentation")
            },
        },
        reduction=arm_settings(*MASKING),
        device=config["training"]["device"],
        deterministic=config["training"]["deterministic"],
    script:
        "../../scripts/evaluate_model.py"


rule collect_tables:
    """Gather the tables of all chains: measures, learning curves, kept pixels."""
    input:
        dataset="<results>/dataset.h5",
        counts=chain_files("counts.h5"),
        metrics=chain_files("metrics.csv"),
        histories=iteration_files("history.csv"),
        kept_pixels=iteration_files("kept_pixels.csv", first=2),
    output:
        metrics=report("<results>/metrics.csv", caption="../report/metrics.rst", category="Tables"),
        history="<results>/history.csv",
        kept_pixels="<results>/kept_pixels.csv",
        origin="<results>/origins/collect_tables.json",
    log:
        "<logs>/collect_tables.log",
    benchmark:
        "<benchmarks>/collect_tables.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=4000,
        runtime=minutes_of_table,
    params:
        code=code("collect_tables"),
        chains=chain_labels,
        asked=asked_origins,
        history_labels=iteration_labels(),
        kept_labels=iteration_labels(first=2),
    script:
        "../../scripts/collect_tables.py"


rule measure_references:
    """Measure predictors that see no image: one class everywhere, the commonest class of each position."""
    input:
        dataset="<results>/dataset.h5",
    output:
        table=report("<results>/references.csv", caption="../report/references.rst", category="Tables"),
        origin="<results>/origins/measure_references.json",
    log:
        "<logs>/measure_references.log",
    benchmark:
        "<benchmarks>/measure_references.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        runtime=minutes_of_table,
    params:
        code=code("measure_references"),
        splits=config["evaluation"]["splits"],
        class_groups=GROUPS,
        foreground=config["evaluation"]["foreground"],
    script:
        "../../scripts/measure_references.py"


rule measure_convergence:
    """Measure how many steps, images and seconds every training took to where the primary comparator comes, too."""
    input:
        history="<results>/history.csv",
        kept_pixels="<results>/kept_pixels.csv",
    output:
        table=report("<results>/convergence.csv", caption="../report/convergence.rst", category="Tables"),
        origin="<results>/origins/measure_convergence.json",
    log:
        "<logs>/measure_convergence.log",
    benchmark:
        "<benchmarks>/measure_convergence.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        runtime=minutes_of_table,
    params:
        code=code("measure_convergence"),
        comparator=config["evaluation"]["comparators"][0],
    script:
        "../../scripts/measure_convergence.py"


rule compare_arms:
    """Compare every arm with the comparators, seed by seed, with intervals and tests."""
    input:
        dataset="<results>/dataset.h5",
        counts=chain_files("counts.h5"),
        validation_counts=iteration_files("validation_counts.h5"),
        history="<results>/history.csv",
        kept_pixels="<results>/kept_pixels.csv",
        references="<results>/references.csv",
        look=last_look,
    output:
        contrasts=report("<results>/contrasts.csv", caption="../report/contrasts_table.rst", category="Tables"),
        interactions=report("<results>/interactions.csv", caption="../report/interactions.rst", category="Tables"),
        racu=report("<results>/racu.csv", caption="../report/racu.rst", category="Tables"),
        origin="<results>/origins/compare_arms.json",
        seen=update("<results>/seeds_seen.json"),  # what was compared before stays in it
    log:
        "<logs>/compare_arms.log",
    benchmark:
        "<benchmarks>/compare_arms.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=4000,
        runtime=minutes_to_compare,
    params:
        code=code("compare_arms"),
        chains=chain_labels,
        asked=asked_origins,
        iterations=iteration_labels(),
        evaluation={**config["evaluation"], "class_groups": GROUPS},
        report=PRIMARY_QUESTION,
    script:
        "../../scripts/compare_arms.py"
