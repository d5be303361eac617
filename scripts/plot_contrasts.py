"""Draw the contrasts with the primary comparator."""

from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.report.verdict_figures import plot_contrasts
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_contrasts(
            contrasts=snakemake.input.contrasts,
            comparator=snakemake.params.comparator,
            measure=snakemake.params.measure,
            class_group=snakemake.params.class_group,
            outputs=snakemake.output,
        )
