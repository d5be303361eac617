"""Make the report of what is finished."""

from spatial_reduction.cluster.preview import make_preview
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        make_preview(**snakemake.params.asked)
