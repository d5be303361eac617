"""Draw images with the outlines of their labels."""

from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.report.label_outlines import plot_labels
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_labels(
            dataset=snakemake.input.dataset,
            foreground=snakemake.params.foreground,
            outputs=snakemake.output,
        )
