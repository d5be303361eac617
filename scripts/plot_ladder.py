"""Draw the ladder from the baseline to the method."""

from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.report.ladder_figure import plot_ladder
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_ladder(
            contrasts=snakemake.input.contrasts,
            evaluation=snakemake.params.evaluation,
            report=snakemake.params.report,
            outputs=snakemake.output,
        )
