"""Ask Slurm whether it would accept every request."""

from spatial_reduction.joblog import logged
from spatial_reduction.slurm import check_requests

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        check_requests(requests=snakemake.params.requests, output=snakemake.output[0])
