"""Set what each rule asked for beside what it used."""

from spatial_reduction.cluster.costs import summarise_costs
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        summarise_costs(
            benchmarks=snakemake.params.benchmarks,
            history=snakemake.input.history,
            costs=snakemake.output.costs,
            slurm_jobs=snakemake.output.slurm_jobs,
        )
