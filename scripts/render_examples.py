"""Follow a few test images through a chain."""

from spatial_reduction.report.render_examples import render_examples
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        render_examples(
            dataset=snakemake.input.dataset,
            models=snakemake.input.models,
            output=snakemake.output[0],
            threshold=snakemake.wildcards.threshold,
            seed=int(snakemake.wildcards.seed),
            threads=snakemake.threads,
            images=snakemake.params.images,
            reduction=snakemake.params.reduction,
            device=snakemake.params.device,
            deterministic=snakemake.params.deterministic,
        )
