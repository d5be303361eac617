"""Measure how fast every chain learns."""

from spatial_reduction.analysis.convergence import measure_convergence
from spatial_reduction.analysis.origins import write_origin
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        measure_convergence(
            history=snakemake.input.history,
            kept_pixels=snakemake.input.kept_pixels,
            comparator=snakemake.params.comparator,
            output=snakemake.output.table,
        )
        write_origin(snakemake.output.origin, dict(snakemake.params), [snakemake.output.table])
