"""Write the mask that keeps every pixel."""

from spatial_reduction.joblog import logged
from spatial_reduction.shrinking import write_intact_mask

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        write_intact_mask(dataset=snakemake.input.dataset, output=snakemake.output[0])
