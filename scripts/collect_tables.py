"""Gather the tables of all chains."""

from spatial_reduction.analysis.origins import Origins, write_origin
from spatial_reduction.analysis.tables import collect_histories, collect_kept_pixels, collect_metrics
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        origins = Origins(
            snakemake.input.counts, snakemake.params.chains, snakemake.params.asked, snakemake.input.dataset
        )
        origins.require_tables("metrics", snakemake.input.metrics, snakemake.params.chains)
        origins.require_tables("history", snakemake.input.histories, snakemake.params.history_labels)
        origins.require_tables("kept_pixels", snakemake.input.kept_pixels, snakemake.params.kept_labels)
        collect_metrics(paths=snakemake.input.metrics, output=snakemake.output.metrics)
        collect_histories(
            paths=snakemake.input.histories,
            labels=snakemake.params.history_labels,
            output=snakemake.output.history,
        )
        collect_kept_pixels(
            paths=snakemake.input.kept_pixels,
            labels=snakemake.params.kept_labels,
            output=snakemake.output.kept_pixels,
        )
        tables = [snakemake.output[name] for name in ("metrics", "history", "kept_pixels")]
        write_origin(snakemake.output.origin, dict(snakemake.params), tables)
