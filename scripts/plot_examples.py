"""Draw the picture grid of one chain."""

from spatial_reduction.report.examples_figure import plot_examples
from spatial_reduction.report.figure_style import set_text_size
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_text_size(snakemake.params.text_size)
        plot_examples(
            examples=snakemake.input.examples,
            title=snakemake.params.title,
            outputs=snakemake.output,
        )
