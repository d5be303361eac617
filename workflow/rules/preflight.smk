"""
Before a thousand jobs are queued: is what they ask for accepted, and does a node offer what was promised?

    snakemake --profile profiles/slurm --configfile config/oxford_pet.yaml preflight

    inputs:  none
    outputs: none that stay; the findings are printed
"""


localrules:
    check_requests,
    preflight,


rule check_requests:
    """Ask Slurm, without queueing anything, whether it would accept the request of every rule and of the longest chain."""
    output:
        temp("<results>/preflight/requests.json"),
    log:
        "<logs>/check_requests.log",
    benchmark:
        "<benchmarks>/check_requests.tsv"
    retries: 0
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("check_requests"),
        requests=slurm_requests,
    script:
        "../../scripts/check_requests.py"


rule check_node:
    """Look, as a training would, at a node: its software, its GPU, its view of the data."""
    input:
        requests="<results>/preflight/requests.json",
    output:
        temp("<results>/preflight/node.json"),
    log:
        "<logs>/check_node.log",
    benchmark:
        "<benchmarks>/check_node.tsv"
    retries: 0
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=10,
    params:
        code=code("check_node"),
        dataset=DATASET,
        device=config["training"]["device"],
    script:
        "../../scripts/check_node.py"


rule preflight:
    """Print what the checks found; fail if a thousand jobs would."""
    input:
        node="<results>/preflight/node.json",
        requests="<results>/preflight/requests.json",
    log:
        "<logs>/preflight.log",
    benchmark:
        "<benchmarks>/preflight.tsv"
    retries: 0
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("preflight"),
    script:
        "../../scripts/preflight.py"
