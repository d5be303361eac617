"""Draw what the masks keep."""

from spatial_reduction.joblog import logged
from spatial_reduction.plotting import plot_kept_pixels

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_kept_pixels(
            kept_pixels=snakemake.input.kept_pixels,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
