"""Draw what the arms lose on changed images."""

from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.report.verdict_figures import plot_robustness
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_robustness(
            metrics=snakemake.input.metrics,
            contrasts=snakemake.input.contrasts,
            comparator=snakemake.params.comparator,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
