"""Print what the checks found."""

from spatial_reduction.cluster.check_requests import conclude_preflight
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        conclude_preflight(node=snakemake.input.node, requests=snakemake.input.requests)
