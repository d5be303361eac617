"""Score test images by every source of saliency."""

from spatial_reduction.joblog import logged
from spatial_reduction.source_pictures import render_sources

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        render_sources(
            dataset=snakemake.input.dataset,
            model=snakemake.input.model,
            output=snakemake.output.pictures,
            table=snakemake.output.table,
            threads=snakemake.threads,
            **snakemake.params,
        )
