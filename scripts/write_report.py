"""Write the report page."""

from spatial_reduction.report.page import write_report
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        write_report(
            metrics=snakemake.input.metrics,
            contrasts=snakemake.input.contrasts,
            interactions=snakemake.input.interactions,
            references=snakemake.input.references,
            history=snakemake.input.history,
            costs=snakemake.input.costs,
            slurm_jobs=snakemake.input.slurm_jobs,
            convergence=snakemake.input.convergence,
            dataset=snakemake.input.dataset,
            counts=snakemake.input.counts,
            figures=snakemake.input.figures,
            sources=snakemake.input.sources,
            template=snakemake.params.template,
            config=snakemake.params.config,
            method=snakemake.params.method,
            page=snakemake.output.page,
            verdict=snakemake.output.verdict,
        )
