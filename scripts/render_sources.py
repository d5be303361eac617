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
            report=snakemake.params.report,
            reduction=snakemake.params.reduction,
            seed=snakemake.params.seed,
            machine=Machine(snakemake.params.device, snakemake.threads, snakemake.params.deterministic),
            outputs={name: snakemake.output[name] for name in ("pictures", "table")},
        )
