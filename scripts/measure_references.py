"""Measure predictors that see no image."""

from spatial_reduction.analysis.origins import write_origin
from spatial_reduction.evaluation.references import measure_references
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        measure_references(
            dataset=snakemake.input.dataset,
            splits=snakemake.params.splits,
            class_groups=snakemake.params.class_groups,
            foreground=snakemake.params.foreground,
            output=snakemake.output.table,
        )
        write_origin(snakemake.output.origin, dict(snakemake.params), [snakemake.output.table])
