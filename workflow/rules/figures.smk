"""
Tables -> figures: one rule and its heirs; each names its script, its input and the settings that it depends on.

    inputs:  <results>/metrics.csv, references.csv, history.csv, kept_pixels.csv, contrasts.csv; counts.h5 of every chain;
             <results>/dataset.h5 and model.safetensors for the figures of pictures
    outputs: <results>/figures/*.png and *.pdf
"""

FIGURE_SIZES = {key: config["report"][key] for key in ("text_size", "width")}


def figures():
    """List the figures by file name without suffix; none of what is not measured."""
    plots = ["ladder", "contrasts"] if len(ARMS) > 1 else []
    plots += ["thresholds", "iterations", "heat_map", "learning_curves"]
    plots += ["robustness"] if set(EVALUATION["protocols"]) - {"intact", "self_masked", "label_masked"} else []
    plots += ["reliability", "kept_pixels", "cost", "labels"]
    plots += [f"examples_top_{chain.threshold}" for chain in method_chains()]
    return plots + (["sources"] if config["report"]["sources"] else [])


def caption(figure):
    """Return the file in workflow/report of a figure's caption; the examples of all thresholds have one."""
    return f"{figure.partition('_top_')[0]}.rst"


def captions(wildcards, input):
    """List the files of the captions of all figures; it takes `input`, so Snakemake reruns nothing for their paths."""
    return [checkout(f"workflow/report/{caption(figure)}") for figure in figures()]


def figure_files(captioned):
    """List the files of a rule's figure: the PNG, which the report of Snakemake shows with a caption, and other formats."""
    png = report("<results>/figures/<figure>.png", caption=f"../report/{captioned}.rst", category="Figures")
    return [png, *expand("<results>/figures/<figure>.{suffix}", suffix=config["report"]["formats"])]


def examples_title(wildcards):
    return f"{config['report']['method']}, top {wildcards.threshold} %, seed {SEEDS[0]}: test images"


rule render_examples:
    """Follow a few test images through a chain: found, kept, predicted."""
    input:
        dataset="<results>/dataset.h5",
        models=chain_models,
    output:
        "<results>/{arm}/top_{threshold}/seed_{seed}/examples.h5",
    log:
        "<logs>/render_examples/{arm}/top_{threshold}/seed_{seed}.log",
    benchmark:
        "<benchmarks>/render_examples/{arm}/top_{threshold}/seed_{seed}.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=GPUS,
        mem_mb=4000,
    params:
        code=scoring_code("render_examples"),
        network=own_network,
        images=config["report"]["images"],
        reduction=arm_settings(*MASKING, "saliency_images"),
        device=config["training"]["device"],
        deterministic=config["training"]["deterministic"],
    script:
        "../../scripts/render_examples.py"


rule render_sources:
    """Ask one model for the saliency of test images by every source: the scores, their cost, the classes they keep."""
    input:
        dataset="<results>/dataset.h5",
        model=method_first_model,
    output:
        pictures="<results>/sources.h5",
        table=report("<results>/sources.csv", caption="../report/sources_table.rst", category="Tables"),
    log:
        "<logs>/render_sources.log",
    benchmark:
        "<benchmarks>/render_sources.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=120,
    params:
        code=sources_code,
        network=own_network,
        report={key: config["report"][key] for key in ("sources", "images")},
        reduction={
            key: ARMS[config["report"]["method"]]["reduction"][key] for key in ("thresholds", "classes_of_interest")
        },
        device=config["training"]["device"],
        deterministic=config["training"]["deterministic"],
        seed=SEEDS[0],
    script:
        "../../scripts/render_sources.py"


rule plot_sources:
    """Draw the scores of all sources side by side, and what a mask leaves by each."""
    input:
        pictures="<results>/sources.h5",
    output:
        figure_files("sources"),
    log:
        "<logs>/plot_<figure>.log",
    benchmark:
        "<benchmarks>/plot_<figure>.tsv"
    pathvars:
        figure="sources",
    conda:
        "../../envs/analysis.yaml"
    resources:
        runtime=minutes_of_table,
    params:
        drawn_by="plot_sources",
        code=code("plot_sources"),
        sizes=FIGURE_SIZES,
    script:
        "../../scripts/{params.drawn_by}.py"


use rule plot_sources as plot_labels with:
    """Draw images of every split with the outlines of their labels."""
    input:
        dataset="<results>/dataset.h5",
    output:
        figure_files("labels"),
    pathvars:
        figure="labels",
    params:
        drawn_by="plot_labels",
        code=code("plot_labels"),
        foreground=config["evaluation"]["foreground"],


use rule plot_sources as plot_examples with:
    """Draw test images with their truth, saliency, masks and predictions at each iteration."""
    input:
        examples=method_examples,
    output:
        figure_files("examples"),
    log:
        "<logs>/plot_examples/top_{threshold}.log",
    benchmark:
        "<benchmarks>/plot_examples/top_{threshold}.tsv"
    pathvars:
        figure="examples_top_{threshold}",
    params:
        drawn_by="plot_examples",
        code=code("plot_examples"),
        title=examples_title,


use rule plot_sources as plot_contrasts with:
    """Draw every arm's difference from the primary comparator in what decides each hypothesis, with intervals."""
    input:
        contrasts="<results>/contrasts.csv",
    output:
        figure_files("contrasts"),
    pathvars:
        figure="contrasts",
    params:
        drawn_by="plot_contrasts",
        code=code("plot_contrasts"),
        comparator=config["evaluation"]["comparators"][0],
        measure=config["report"]["measure"],
        class_group=config["report"]["class_group"],


use rule plot_sources as plot_ladder with:
    """Draw the steps from the baseline to the method: more training, masking, and what the content of the mask adds."""
    input:
        contrasts="<results>/contrasts.csv",
    output:
        figure_files("ladder"),
    pathvars:
        figure="ladder",
    params:
        drawn_by="plot_ladder",
        code=code("plot_ladder"),
        evaluation={key: config["evaluation"][key] for key in ("comparators", "controls")},
        report=PRIMARY_QUESTION,


use rule plot_sources as plot_heat_map with:
    """Draw the test scores of the method, thresholds by iterations."""
    input:
        metrics="<results>/metrics.csv",
    output:
        figure_files("heat_map"),
    pathvars:
        figure="heat_map",
    params:
        drawn_by="plot_heat_map",
        code=code("plot_heat_map"),
        measure=config["report"]["measure"],
        class_group=config["report"]["class_group"],
        arm=config["report"]["method"],


use rule plot_sources as plot_learning_curves with:
    """Draw validation scores against cumulative optimiser steps."""
    input:
        history="<results>/history.csv",
        references="<results>/references.csv",
    output:
        figure_files("learning_curves"),
    pathvars:
        figure="learning_curves",
    params:
        drawn_by="plot_learning_curves",
        code=code("plot_learning_curves"),
        arms=ROLES,


use rule plot_learning_curves as plot_kept_pixels with:
    """Draw the kept share, and how much of each class the kept pixels hold."""
    input:
        kept_pixels="<results>/kept_pixels.csv",
    output:
        figure_files("kept_pixels"),
    pathvars:
        figure="kept_pixels",
    params:
        drawn_by="plot_kept_pixels",
        code=code("plot_kept_pixels"),


use rule plot_learning_curves as plot_robustness with:
    """Draw what the arms lose on corrupted images and changed backgrounds."""
    input:
        metrics="<results>/metrics.csv",
        contrasts="<results>/contrasts.csv",
    output:
        figure_files("robustness"),
    pathvars:
        figure="robustness",
    params:
        drawn_by="plot_robustness",
        code=code("plot_robustness"),
        comparator=config["evaluation"]["comparators"][0],


use rule plot_learning_curves as plot_reliability with:
    """Draw how far the models' confidence can be trusted."""
    input:
        counts=chain_files("counts.h5"),
    output:
        figure_files("reliability"),
    pathvars:
        figure="reliability",
    params:
        drawn_by="plot_reliability",
        code=code("plot_reliability"),
        chains=chain_labels,


use rule plot_learning_curves as plot_thresholds with:
    """Draw the final scores against threshold, beside the arms that remove nothing and a predictor that sees no image."""
    input:
        metrics="<results>/metrics.csv",
        references="<results>/references.csv",
    output:
        figure_files("thresholds"),
    pathvars:
        figure="thresholds",
    params:
        drawn_by="plot_thresholds",
        code=code("plot_thresholds"),
        measure=config["report"]["measure"],
        class_group=config["report"]["class_group"],


use rule plot_thresholds as plot_iterations with:
    """Draw the test scores against iteration."""
    output:
        figure_files("iterations"),
    pathvars:
        figure="iterations",
    params:
        drawn_by="plot_iterations",
        code=code("plot_iterations"),


use rule plot_thresholds as plot_cost with:
    """Draw the final scores against the optimiser steps of the whole chain."""
    input:
        metrics="<results>/metrics.csv",
        history="<results>/history.csv",
    output:
        figure_files("cost"),
    pathvars:
        figure="cost",
    params:
        drawn_by="plot_cost",
        code=code("plot_cost"),
