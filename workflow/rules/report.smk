"""
Tables and figures -> costs, verdict, report, reporting sheet.

    inputs:  <results>/metrics.csv, history.csv, contrasts.csv, convergence.csv, figures/*.png, dataset.h5;
             counts.h5 of every chain
    outputs: <results>/costs.csv, slurm_jobs.csv, report.html, verdict.md, sheet.md
"""


# The accounting of Slurm is asked where jobs are submitted; nodes may not reach it.
rule summarise_costs:
    """Set what each rule asked for beside what it used, after all jobs but the report."""
    input:
        metrics="<results>/metrics.csv",
        contrasts="<results>/contrasts.csv",
        history="<results>/history.csv",
        figures=expand("<results>/figures/{figure}.png", figure=figures()),
    output:
        costs=report("<results>/costs.csv", caption="../report/costs.rst", category="Tables"),
        slurm_jobs="<results>/slurm_jobs.csv",
    log:
        "<logs>/summarise_costs.log",
    benchmark:
        "<benchmarks>/summarise_costs.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("summarise_costs"),
        benchmarks=config["pathvars"]["benchmarks"],
    script:
        "../../scripts/summarise_costs.py"


rule write_report:
    """Say in words and numbers what the experiment shows, on one page that needs nothing else."""
    input:
        metrics="<results>/metrics.csv",
        contrasts="<results>/contrasts.csv",
        interactions="<results>/interactions.csv",
        references="<results>/references.csv",
        seen="<results>/seeds_seen.json",
        history="<results>/history.csv",
        costs="<results>/costs.csv",
        slurm_jobs="<results>/slurm_jobs.csv",
        convergence="<results>/convergence.csv",
        origins=expand("<results>/origins/{rule}.json", rule=TABLES_FROM),
        dataset="<results>/dataset.h5",
        counts=chain_files("counts.h5"),
        figures=expand("<results>/figures/{figure}.png", figure=figures()),
        sources=sources_table,
    output:
        page=report("<results>/report.html", caption="../report/report.rst", category="Report"),
        verdict="<results>/verdict.md",
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("write_report"),
        chains=chain_labels,
        asked=asked_origins,
        asked_tables=asked_tables,
        words=words_of("report.html.j2", *map(caption, figures())),
        template=template("report.html.j2"),
        captions=captions,
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
    output:
        report("<results>/sheet.md", caption="../report/sheet.rst", category="Report"),
    log:
        "<logs>/write_sheet.log",
    benchmark:
        "<benchmarks>/write_sheet.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("write_sheet"),
        chains=chain_labels,
        asked=asked_origins,
        words=words_of("sheet.md.j2"),
        template=template("sheet.md.j2"),
        benchmarks=config["pathvars"]["benchmarks"],
        config=EXPERIMENT,
        arms=ARMS,
    script:
        "../../scripts/write_sheet.py"
