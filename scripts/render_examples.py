"""Follow a few test images through a chain."""

from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.masks.reduction_step import ReductionStep
from spatial_reduction.networks.own_network import trust_network
from spatial_reduction.report.render_examples import render_examples
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        trust_network(snakemake.params.network)
        chain = Chain(snakemake.wildcards.arm, snakemake.wildcards.threshold, int(snakemake.wildcards.seed))
        render_examples(
            dataset=snakemake.input.dataset,
            models=snakemake.input.models,
            output=snakemake.output[0],
            images=snakemake.params.images,
            step=ReductionStep.from_settings(snakemake.params.reduction, chain.threshold),
            chain=chain,
            machine=Machine(snakemake.params.device, snakemake.threads, snakemake.params.deterministic),
        )
