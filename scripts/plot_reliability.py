"""Draw accuracy against confidence."""

from spatial_reduction.joblog import logged
from spatial_reduction.plotting_verdict import plot_reliability

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_reliability(
            counts=snakemake.input.counts,
            chains=snakemake.params.chains,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
