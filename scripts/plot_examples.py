"""Draw the picture grid of one chain."""

from spatial_reduction.report.examples_figure import plot_examples
from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_examples(
            examples=snakemake.input.examples,
            title=snakemake.params.title,
            outputs=snakemake.output,
        )
