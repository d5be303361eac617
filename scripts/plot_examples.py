"""Draw the picture grid of one chain."""

from spatial_reduction.joblog import logged
from spatial_reduction.picture_grid import plot_examples

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_examples(
            examples=snakemake.input.examples,
            title=snakemake.params.title,
            outputs=snakemake.output,
        )
