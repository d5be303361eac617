"""Score the pixels of the training images."""

from spatial_reduction.joblog import logged
from spatial_reduction.saliency.scores import compute_saliency

if __name__ == "__main__":
    with logged(snakemake.log[0]):
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
