"""Draw the learning curves."""

from spatial_reduction.joblog import logged
from spatial_reduction.plotting import plot_learning_curves

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_learning_curves(
            history=snakemake.input.history,
            arms=snakemake.params.arms,
            outputs=snakemake.output,
        )
