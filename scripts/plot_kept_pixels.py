"""Draw what the masks keep."""

from spatial_reduction.report.curves import plot_kept_pixels
from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_kept_pixels(
            kept_pixels=snakemake.input.kept_pixels,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
