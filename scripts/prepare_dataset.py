"""Turn raw pictures into one data set file."""

from spatial_reduction.joblog import logged
from spatial_reduction.preparation import prepare_dataset

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        prepare_dataset(
            root=snakemake.input.raw,
            output=snakemake.output[0],
            dataset=snakemake.params.dataset,
            threads=snakemake.threads,
        )
