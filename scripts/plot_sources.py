"""Draw the sources of saliency side by side."""

from spatial_reduction.joblog import logged
from spatial_reduction.source_grid import plot_sources

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_sources(pictures=snakemake.input.pictures, outputs=snakemake.output)
