"""Draw the sources of saliency side by side."""

from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.report.sources_figure import plot_sources
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_sources(pictures=snakemake.input.pictures, outputs=snakemake.output)
