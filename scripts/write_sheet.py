"""Write the sheet of what a reader must know to judge and repeat the experiment."""

from spatial_reduction.analysis.origins import Origins
from spatial_reduction.report.reporting_sheet import write_sheet
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        Origins(snakemake.input.counts, snakemake.params.chains, snakemake.params.asked, snakemake.input.dataset)
        write_sheet(
            dataset=snakemake.input.dataset,
            history=snakemake.input.history,
            counts=snakemake.input.counts,
            template=snakemake.params.template,
            benchmarks=snakemake.params.benchmarks,
            config=snakemake.params.config,
            arms=snakemake.params.arms,
            output=snakemake.output[0],
        )
