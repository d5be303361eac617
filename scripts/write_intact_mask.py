"""Write the mask that keeps every pixel."""

from spatial_reduction.masks.shrink import write_intact_mask
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        write_intact_mask(dataset=snakemake.input.dataset, output=snakemake.output[0])
