"""Turn raw pictures into one data set file."""

from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        prepare_dataset(
            root=snakemake.input.raw,
            output=snakemake.output[0],
            dataset=snakemake.params.dataset,
            threads=snakemake.threads,
        )
