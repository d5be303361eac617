"""Draw the final scores against the optimiser steps of the whole chain."""

from spatial_reduction.report.curves import plot_cost
from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_cost(
            metrics=snakemake.input.metrics,
            history=snakemake.input.history,
            measure=snakemake.params.measure,
            class_group=snakemake.params.class_group,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
