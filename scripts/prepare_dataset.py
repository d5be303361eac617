"""Turn raw pictures into one data set file."""

from spatial_reduction.data.prepare import prepare_dataset, record_pictures
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        inputs = {
            "root": snakemake.params.dataset["root"],
            "dataset": snakemake.params.dataset,
            "threads": snakemake.threads,
        }
        record_pictures(**inputs, output=snakemake.output.pictures, digest=snakemake.params.pictures)
        prepare_dataset(**inputs, output=snakemake.output.dataset)
