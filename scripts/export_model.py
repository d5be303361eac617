"""Write a trained model in the ONNX format."""

from spatial_reduction.networks.onnx_export import export_model
from spatial_reduction.networks.own_network import trust_network
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        trust_network(snakemake.params.network)
        export_model(model=snakemake.input.model, output=snakemake.output[0], **snakemake.params.dataset)
