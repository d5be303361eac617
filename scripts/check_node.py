"""Look at a node as a training would."""

from spatial_reduction.cluster.check_node import check_node
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        check_node(
            dataset=snakemake.params.dataset,
            device=snakemake.params.device,
            asks_gpu=bool(snakemake.resources.gpu or snakemake.resources.get("gres", "")),
            output=snakemake.output[0],
        )
