"""Draw the test scores against iteration."""

from spatial_reduction.joblog import logged
from spatial_reduction.plotting import plot_iterations

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_iterations(
            metrics=snakemake.input.metrics,
            measure=snakemake.params.measure,
            class_group=snakemake.params.class_group,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
