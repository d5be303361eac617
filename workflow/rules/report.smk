"""
Tables -> figures, verdict, report.html.

    inputs:  <results>/metrics.csv, history.csv, kept_pixels.csv, contrasts.csv, convergence.csv
    outputs: <results>/figures/*.png and *.pdf, <results>/costs.csv, slurm_jobs.csv, <results>/report.html, verdict.md, sheet.md
"""


rule plot_thresholds:
    """Draw the final scores against threshold, beside the single pass and equal compute."""
    input:
        metrics="<results>/metrics.csv",
        code=library("plot_thresholds"),
    output:
        report("<results>/figures/thresholds.png", caption="../report/thresholds.rst", category="Figures"),
        "<results>/figures/thresholds.pdf",
    log:
        "<logs>/plot_thresholds.log",
    benchmark:
        "<benchmarks>/plot_thresholds.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        measure=config["report"]["measure"],
        class_group=config["report"]["class_group"],
        arms=ROLES,
    script:
        "../../scripts/plot_thresholds.py"


rule plot_iterations:
    """Draw the test scores against iteration."""
    input:
        metrics="<results>/metrics.csv",
        code=library("plot_iterations"),
    output:
        report("<results>/figures/iterations.png", caption="../report/iterations.rst", category="Figures"),
        "<results>/figures/iterations.pdf",
    log:
        "<logs>/plot_iterations.log",
    benchmark:
        "<benchmarks>/plot_iterations.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        measure=config["report"]["measure"],
        class_group=config["report"]["class_group"],
        arms=ROLES,
    script:
        "../../scripts/plot_iterations.py"


rule plot_learning_curves:
    """Draw validation scores against cumulative optimiser steps."""
    input:
        history="<results>/history.csv",
        code=library("plot_learning_curves"),
    output:
        report("<results>/figures/learning_curves.png", caption="../report/learning_curves.rst", category="Figures"),
        "<results>/figures/learning_curves.pdf",
    log:
        "<logs>/plot_learning_curves.log",
    benchmark:
        "<benchmarks>/plot_learning_curves.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        arms=ROLES,
    script:
        "../../scripts/plot_learning_curves.py"


rule plot_kept_pixels:
    """Draw the kept share, and how much of each class the kept pixels hold."""
    input:
        kept_pixels="<results>/kept_pixels.csv",
        code=library("plot_kept_pixels"),
    output:
        report("<results>/figures/kept_pixels.png", caption="../report/kept_pixels.rst", category="Figures"),
        "<results>/figures/kept_pixels.pdf",
    log:
        "<logs>/plot_kept_pixels.log",
    benchmark:
        "<benchmarks>/plot_kept_pixels.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        arms=ROLES,
    script:
        "../../scripts/plot_kept_pixels.py"


rule plot_cost:
    """Draw the final scores against the seconds that training took."""
    input:
        metrics="<results>/metrics.csv",
        history="<results>/history.csv",
        code=library("plot_cost"),
    output:
        report("<results>/figures/cost.png", caption="../report/cost.rst", category="Figures"),
        "<results>/figures/cost.pdf",
    log:
        "<logs>/plot_cost.log",
    benchmark:
        "<benchmarks>/plot_cost.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        measure=config["report"]["measure"],
        class_group=config["report"]["class_group"],
        arms=ROLES,
    script:
        "../../scripts/plot_cost.py"


rule plot_contrasts:
    """Draw every arm's difference from the primary comparator in what decides each hypothesis, with intervals."""
    input:
        contrasts="<results>/contrasts.csv",
        code=library("plot_contrasts"),
    output:
        report("<results>/figures/contrasts.png", caption="../report/plot_contrasts.rst", category="Figures"),
        "<results>/figures/contrasts.pdf",
    log:
        "<logs>/plot_contrasts.log",
    benchmark:
        "<benchmarks>/plot_contrasts.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        comparator=config["evaluation"]["comparators"][0],
        measure=config["report"]["measure"],
        class_group=config["report"]["class_group"],
        margin=config["evaluation"]["margin"],
    script:
        "../../scripts/plot_contrasts.py"


rule plot_heat_map:
    """Draw the test scores of the method, thresholds by iterations."""
    input:
        metrics="<results>/metrics.csv",
        code=library("plot_heat_map"),
    output:
        report("<results>/figures/heat_map.png", caption="../report/heat_map.rst", category="Figures"),
        "<results>/figures/heat_map.pdf",
    log:
        "<logs>/plot_heat_map.log",
    benchmark:
        "<benchmarks>/plot_heat_map.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        measure=config["report"]["measure"],
        class_group=config["report"]["class_group"],
        arm=config["report"]["method"],
    script:
        "../../scripts/plot_heat_map.py"


rule plot_robustness:
    """Draw what the arms lose on corrupted images and changed backgrounds."""
    input:
        metrics="<results>/metrics.csv",
        code=library("plot_robustness"),
    output:
        report("<results>/figures/robustness.png", caption="../report/robustness.rst", category="Figures"),
        "<results>/figures/robustness.pdf",
    log:
        "<logs>/plot_robustness.log",
    benchmark:
        "<benchmarks>/plot_robustness.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        arms=ROLES,
    script:
        "../../scripts/plot_robustness.py"


rule plot_reliability:
    """Draw how far the models' confidence can be trusted."""
    input:
        counts=chain_files("counts.h5"),
        code=library("plot_reliability"),
    output:
        report("<results>/figures/reliability.png", caption="../report/reliability.rst", category="Figures"),
        "<results>/figures/reliability.pdf",
    log:
        "<logs>/plot_reliability.log",
    benchmark:
        "<benchmarks>/plot_reliability.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        chains=[[c.arm, c.threshold, c.seed] for c in CHAINS],
        arms=ROLES,
    script:
        "../../scripts/plot_reliability.py"


rule render_examples:
    """Follow a few test images through a chain: found, kept, predicted."""
    input:
        dataset="<results>/dataset.h5",
        models=chain_models,
        code=examples_code,
    output:
        "<results>/{arm}/top_{threshold}/seed_{seed}/examples.h5",
    log:
        "<logs>/render_examples/{arm}/top_{threshold}/seed_{seed}.log",
    benchmark:
        "<benchmarks>/render_examples/{arm}/top_{threshold}/seed_{seed}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=15,
    params:
        images=config["report"]["images"],
        reduction=arm_setting(
            "source",
            "rank",
            "shuffle",
            "saliency_images",
            "fill",
            "removes",
            "classes_of_interest",
            "schedule",
            "step",
        ),
        device=config["training"]["device"],
        deterministic=config["training"]["deterministic"],
    script:
        "../../scripts/render_examples.py"


rule plot_examples:
    """Draw test images with their truth, saliency, masks and predictions at each iteration."""
    input:
        examples=method_examples,
        code=library("plot_examples"),
    output:
        report("<results>/figures/examples_top_{threshold}.png", caption="../report/examples.rst", category="Figures"),
        "<results>/figures/examples_top_{threshold}.pdf",
    log:
        "<logs>/plot_examples/top_{threshold}.log",
    benchmark:
        "<benchmarks>/plot_examples/top_{threshold}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        title=examples_title,
    script:
        "../../scripts/plot_examples.py"


rule render_sources:
    """Ask one model for the saliency of test images by every source: the scores, their cost, the classes they keep."""
    input:
        dataset="<results>/dataset.h5",
        model=method_first_model,
        code=sources_code,
    output:
        pictures="<results>/sources.h5",
        table=report("<results>/sources.csv", caption="../report/sources_table.rst", category="Tables"),
    log:
        "<logs>/render_sources.log",
    benchmark:
        "<benchmarks>/render_sources.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=120,
    params:
        sources=config["report"]["sources"],
        images=config["report"]["images"],
        thresholds=ARMS[config["report"]["method"]]["reduction"]["thresholds"],
        classes_of_interest=ARMS[config["report"]["method"]]["reduction"]["classes_of_interest"],
        device=config["training"]["device"],
        deterministic=config["training"]["deterministic"],
        seed=config["seeds"][0],
    script:
        "../../scripts/render_sources.py"


rule plot_sources:
    """Draw the scores of all sources side by side, and what a mask leaves by each."""
    input:
        pictures="<results>/sources.h5",
        code=library("plot_sources"),
    output:
        report("<results>/figures/sources.png", caption="../report/sources.rst", category="Figures"),
        "<results>/figures/sources.pdf",
    log:
        "<logs>/plot_sources.log",
    benchmark:
        "<benchmarks>/plot_sources.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    script:
        "../../scripts/plot_sources.py"


# The accounting of Slurm is asked where jobs are submitted; nodes may not reach it.
localrules:
    summarise_costs,


rule summarise_costs:
    """Set what each rule asked for beside what it used, after all jobs but the report."""
    input:
        metrics="<results>/metrics.csv",
        contrasts="<results>/contrasts.csv",
        history="<results>/history.csv",
        figures=expand("<results>/figures/{figure}.png", figure=figures()),
        code=library("summarise_costs"),
    output:
        costs=report("<results>/costs.csv", caption="../report/costs.rst", category="Tables"),
        slurm_jobs="<results>/slurm_jobs.csv",
    log:
        "<logs>/summarise_costs.log",
    benchmark:
        "<benchmarks>/summarise_costs.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        benchmarks=config["pathvars"]["benchmarks"],
    script:
        "../../scripts/summarise_costs.py"


rule write_report:
    """Say in words and numbers what the experiment shows, on one page that needs nothing else."""
    input:
        metrics="<results>/metrics.csv",
        contrasts="<results>/contrasts.csv",
        history="<results>/history.csv",
        costs="<results>/costs.csv",
        slurm_jobs="<results>/slurm_jobs.csv",
        convergence="<results>/convergence.csv",
        dataset="<results>/dataset.h5",
        counts=chain_files("counts.h5"),
        figures=expand("<results>/figures/{figure}.png", figure=figures()),
        sources=sources_table,
        template=checkout("workflow/report/report.html.j2"),
        code=library("write_report"),
    output:
        page=report("<results>/report.html", caption="../report/report.rst", category="Report"),
        verdict="<results>/verdict.md",
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        config=EXPERIMENT,
        method=ARMS[config["report"]["method"]]["reduction"],
    script:
        "../../scripts/write_report.py"


rule write_sheet:
    """Fill in what a reader must know to judge and repeat the experiment, from the files of the run."""
    input:
        dataset="<results>/dataset.h5",
        history="<results>/history.csv",
        counts=chain_files("counts.h5"),
        template=checkout("workflow/report/sheet.md.j2"),
        code=library("write_sheet"),
    output:
        report("<results>/sheet.md", caption="../report/sheet.rst", category="Report"),
    log:
        "<logs>/write_sheet.log",
    benchmark:
        "<benchmarks>/write_sheet.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        benchmarks=config["pathvars"]["benchmarks"],
        config=EXPERIMENT,
        arms=ARMS,
    script:
        "../../scripts/write_sheet.py"
