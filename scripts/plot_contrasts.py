"""Draw the contrasts with the primary comparator."""

from spatial_reduction.joblog import logged
from spatial_reduction.plotting_verdict import plot_contrasts

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_contrasts(
            contrasts=snakemake.input.contrasts,
            comparator=snakemake.params.comparator,
            measure=snakemake.params.measure,
            class_group=snakemake.params.class_group,
            margin=snakemake.params.margin,
            outputs=snakemake.output,
        )
