"""Draw the test scores against iteration."""

from spatial_reduction.report.curves import plot_iterations
from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_iterations(
            metrics=snakemake.input.metrics,
            references=snakemake.input.references,
            measure=snakemake.params.measure,
            class_group=snakemake.params.class_group,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
