"""Draw the final scores against training time."""

from spatial_reduction.report.curves import plot_cost
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_cost(
            metrics=snakemake.input.metrics,
            history=snakemake.input.history,
            measure=snakemake.params.measure,
            class_group=snakemake.params.class_group,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
