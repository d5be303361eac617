"""Draw what the arms lose on changed images."""

from spatial_reduction.joblog import logged
from spatial_reduction.plotting_verdict import plot_robustness

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_robustness(
            metrics=snakemake.input.metrics,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
