"""Set several experiments side by side."""

from spatial_reduction.report.compare_experiments import compare_experiments
from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        compare_experiments(
            experiments=snakemake.params.experiments,
            baseline=snakemake.params.baseline,
            measure=snakemake.params.measure,
            class_group=snakemake.params.class_group,
            table=snakemake.output.table,
            figures=[snakemake.output.png, snakemake.output.pdf],
        )
