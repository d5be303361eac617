"""Write a profile of this cluster."""

from spatial_reduction.cluster.set_up_site import set_up_site
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        set_up_site(
            template=snakemake.input.template,
            folder=snakemake.params.folder,
            command=snakemake.params.command,
            needs_gpu=snakemake.params.needs_gpu,
        )
