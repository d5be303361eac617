"""Draw accuracy against confidence."""

from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.report.verdict_figures import plot_reliability
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_reliability(
            counts=snakemake.input.counts,
            chains=snakemake.params.chains,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
