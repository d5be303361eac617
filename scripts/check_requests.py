"""Ask Slurm whether it would accept every request."""

from spatial_reduction.cluster.check_requests import check_requests
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        check_requests(requests=snakemake.params.requests, output=snakemake.output[0], jobs=snakemake.params.jobs)
