"""Score test images by every source of saliency."""

from spatial_reduction.networks.own_network import trust_network
from spatial_reduction.report.render_sources import render_sources
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        trust_network(snakemake.params.network)
        render_sources(
            dataset=snakemake.input.dataset,
            model=snakemake.input.model,
            output=snakemake.output.pictures,
            table=snakemake.output.table,
            machine=Machine(snakemake.params.device, snakemake.threads, snakemake.params.deterministic),
            sources=snakemake.params.sources,
            images=snakemake.params.images,
            thresholds=snakemake.params.thresholds,
            classes_of_interest=snakemake.params.classes_of_interest,
            seed=snakemake.params.seed,
        )
