"""Look at the data before anything is trained."""

from spatial_reduction.report.data_check import write_data_check
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        write_data_check(
            timings=snakemake.input.networks,
            config={"dataset": snakemake.params.dataset, **snakemake.params.settings},
            design=snakemake.params.design,
            template=snakemake.input.template,
            page=snakemake.output.page,
            summary=snakemake.output.summary,
            threads=snakemake.threads,
        )
