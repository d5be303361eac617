"""Draw the learning curves."""

from spatial_reduction.report.curves import plot_learning_curves
from spatial_reduction.report.figure_style import set_sizes
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_sizes(**snakemake.params.sizes)
        plot_learning_curves(
            history=snakemake.input.history,
            references=snakemake.input.references,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
