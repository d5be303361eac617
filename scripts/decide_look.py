"""Test the method after some seeds, and say whether more are needed."""

from spatial_reduction.analysis.contrasts import decide_look
from spatial_reduction.analysis.origins import Origins
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        Origins(snakemake.input.counts, snakemake.params.chains, snakemake.params.asked, snakemake.input.dataset)
        decide_look(
            counts=snakemake.input.counts,
            chains=snakemake.params.chains,
            references=snakemake.input.references,
            evaluation=snakemake.params.evaluation,
            report=snakemake.params.report,
            looks=snakemake.params.looks,
            seeds=int(snakemake.wildcards.look),
            output=snakemake.output[0],
        )
