"""Compare every arm with the comparators."""

from spatial_reduction.analysis.contrasts import compare_arms
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        compare_arms(
            counts=snakemake.input.counts,
            chains=snakemake.params.chains,
            history=snakemake.input.history,
            evaluation=snakemake.params.evaluation,
            contrasts=snakemake.output.contrasts,
            racu=snakemake.output.racu,
        )
