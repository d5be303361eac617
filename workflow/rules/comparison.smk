"""
Several experiments -> one table and one figure; asked for by `compare`.

    snakemake compare --config "comparison={experiments: [results/a, results/b]}"

    inputs:  metrics.csv of each experiment
    outputs: <results>/comparison/comparison.csv, comparison.png, comparison.pdf
"""


def compared_metrics(wildcards):
    """List the metrics of the experiments that are compared; before any job runs, so a wrong folder costs nothing."""
    folders = config["comparison"]["experiments"]
    hint = 'try --config "comparison={experiments: [results/a, results/b]}"'
    refuse_unless(
        len(set(folders)) > 1, "comparison.experiments", f"names {len(set(folders))} folders of results; {hint}"
    )
    for folder in folders:
        check_path(folder, "comparison.experiments")
        table = os.path.join(folder, "metrics.csv")
        refuse_unless(
            os.path.exists(table), "comparison.experiments", f"{table} is not there: it comes when a run has ended"
        )
    return [os.path.join(folder, "metrics.csv") for folder in folders]


rule compare_experiments:
    """Set the scores of several experiments side by side: intervals, differences, probability of improvement."""
    input:
        compared_metrics,
    output:
        table="<results>/comparison/comparison.csv",
        png="<results>/comparison/comparison.png",
        pdf="<results>/comparison/comparison.pdf",
    log:
        "<logs>/compare_experiments.log",
    benchmark:
        "<benchmarks>/compare_experiments.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("compare_experiments"),
        experiments=config["comparison"]["experiments"],
        baseline=config["comparison"]["baseline"],
        measure=config["report"]["measure"],
        class_group=config["report"]["class_group"],
        sizes=FIGURE_SIZES,
    script:
        "../../scripts/compare_experiments.py"
