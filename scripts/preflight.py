"""Print what the checks found."""

from spatial_reduction.joblog import logged
from spatial_reduction.slurm import conclude_preflight

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        conclude_preflight(node=snakemake.input.node, requests=snakemake.input.requests)
