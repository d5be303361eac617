"""Score the pixels of the training images."""

from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.score_pixels import Scoring, compute_saliency
from spatial_reduction.networks.own_network import trust_network
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.log import logged
from spatial_reduction.runtime.sole_writer import sole_writer

if __name__ == "__main__":
    with logged(snakemake.log[0]), sole_writer(snakemake.output[0]):
        trust_network(snakemake.params.network)
        compute_saliency(
            dataset=snakemake.input.dataset,
            model=snakemake.input.model,
            mask=snakemake.input.mask,
            output=snakemake.output[0],
            scoring=Scoring(**snakemake.params.scoring),
            removal=Removal(**snakemake.params.removal),
            machine=Machine(snakemake.params.device, snakemake.threads, snakemake.params.deterministic),
            seed=int(snakemake.wildcards.seed),
            iteration=int(snakemake.wildcards.iteration),
            origin={**snakemake.wildcards, **snakemake.params},
        )
