"""Time a step and a prediction of every network."""

from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.log import logged
from spatial_reduction.training.time_steps import time_networks

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        dataset = snakemake.params.dataset
        time_networks(
            networks=snakemake.params.networks,
            classes=snakemake.params.classes,
            shape=(dataset["image_size"], dataset["image_size"], 3 if dataset["colour"] == "rgb" else 1),
            machine=Machine(snakemake.params.device, snakemake.threads, snakemake.params.deterministic),
            output=snakemake.output[0],
        )
