"""Write the report page."""

from spatial_reduction.analysis.origins import Origins, require_origins
from spatial_reduction.report.page import TABLES, write_report
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        Origins(snakemake.input.counts, snakemake.params.chains, snakemake.params.asked, snakemake.input.dataset)
        tables = {name: snakemake.input[name] for name in TABLES}
        require_origins(snakemake.input.origins, snakemake.params.asked_tables, tables.values())
        write_report(
            tables=tables,
            sources=snakemake.input.sources,
            seen=snakemake.input.seen,
            dataset=snakemake.input.dataset,
            counts=snakemake.input.counts,
            figures=dict(zip(snakemake.input.figures, snakemake.params.captions, strict=True)),
            template=snakemake.params.template,
            config=snakemake.params.config,
            method=snakemake.params.method,
            outputs={name: snakemake.output[name] for name in ("page", "verdict")},
        )
