"""Print how far a run is."""

from spatial_reduction.cluster.status import show_status
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        print(show_status(chains=snakemake.params.chains, folders=snakemake.params.folders))
