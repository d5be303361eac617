"""Shrink the masks of the iteration before."""

from spatial_reduction.masks.ranking import Schedule
from spatial_reduction.masks.shrink import shrink_masks
from spatial_reduction.runtime.log import logged
from spatial_reduction.runtime.sole_writer import sole_writer

if __name__ == "__main__":
    with logged(snakemake.log[0]), sole_writer(snakemake.output[0]):
        shrink_masks(
            dataset=snakemake.input.dataset,
            saliency=snakemake.input.saliency,
            parent=snakemake.input.mask,
            model=snakemake.input.model,
            output=snakemake.output.mask,
            table=snakemake.output.table,
            schedule=Schedule(**snakemake.params.reduction, threshold=snakemake.wildcards.threshold),
            iteration=int(snakemake.wildcards.iteration),
            seed=int(snakemake.wildcards.seed),
            origin={**snakemake.wildcards, **snakemake.params},
        )
