"""Draw the scores of the method, thresholds by iterations."""

from spatial_reduction.joblog import logged
from spatial_reduction.plotting_verdict import plot_heat_map

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_heat_map(
            metrics=snakemake.input.metrics,
            measure=snakemake.params.measure,
            class_group=snakemake.params.class_group,
            arm=snakemake.params.arm,
            outputs=snakemake.output,
        )
