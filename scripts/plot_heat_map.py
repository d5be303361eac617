"""Draw the scores of the method, thresholds by iterations."""

from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.report.verdict_figures import plot_heat_map
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_heat_map(
            metrics=snakemake.input.metrics,
            measure=snakemake.params.measure,
            class_group=snakemake.params.class_group,
            arm=snakemake.params.arm,
            outputs=snakemake.output,
        )
