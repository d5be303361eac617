"""Score the pixels of the training images."""

from spatial_reduction.masks.score_pixels import compute_saliency
from spatial_reduction.runtime.log import logged
from spatial_reduction.runtime.sole_writer import sole_writer

if __name__ == "__main__":
    with logged(snakemake.log[0]), sole_writer(snakemake.output[0]):
        compute_saliency(
            dataset=snakemake.input.dataset,
            model=snakemake.input.model,
            mask=snakemake.input.mask,
            output=snakemake.output[0],
            device=snakemake.params.device,
            deterministic=snakemake.params.deterministic,
            seed=int(snakemake.wildcards.seed),
            iteration=int(snakemake.wildcards.iteration),
            threads=snakemake.threads,
            **snakemake.params.reduction,
        )
