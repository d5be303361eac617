"""Apply a trained model to a folder of new images."""

from spatial_reduction.evaluation.predict_images import predict_images
from spatial_reduction.networks.own_network import trust_network
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        trust_network(snakemake.params.network)
        predict_images(
            images=snakemake.input.images,
            model=snakemake.input.model,
            table=snakemake.output[0],
            dataset=snakemake.params.dataset,
            prediction=snakemake.params.prediction,
            evaluation=snakemake.params.evaluation,
            machine=Machine(snakemake.params.device, snakemake.threads, snakemake.params.deterministic),
        )
