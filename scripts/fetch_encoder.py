"""Fetch the initial weights of an encoder."""

from spatial_reduction.networks.encoder_weights import fetch_encoder
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        fetch_encoder(snakemake.params.encoder, snakemake.params.weights, snakemake.output[0])
