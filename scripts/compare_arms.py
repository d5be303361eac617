"""Compare every arm with the comparators."""

from spatial_reduction.analysis.contrasts import compare_arms
from spatial_reduction.analysis.looks import level_of
from spatial_reduction.analysis.origins import Origins, write_origin
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        origins = Origins(
            snakemake.input.counts, snakemake.params.chains, snakemake.params.asked, snakemake.input.dataset
        )
        origins.require_tables("validation_counts", snakemake.input.validation_counts, snakemake.params.iterations)
        tables = {name: snakemake.output[name] for name in ("contrasts", "interactions", "racu")}
        compare_arms(
            counts=snakemake.input.counts,
            chains=snakemake.params.chains,
            validation=dict(
                zip(map(tuple, snakemake.params.iterations), snakemake.input.validation_counts, strict=True)
            ),
            tables={name: snakemake.input[name] for name in ("history", "kept_pixels", "references")},
            evaluation=snakemake.params.evaluation,
            report=snakemake.params.report,
            outputs=tables,
            level=level_of(snakemake.input.look),
            seen=snakemake.output.seen,
        )
        write_origin(snakemake.output.origin, dict(snakemake.params), tables.values())
