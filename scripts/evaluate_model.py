"""Measure the models of one chain; with that, their trainings are over."""

from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.evaluation.evaluate import Evaluation, evaluate_model
from spatial_reduction.masks.reduction_step import ReductionStep
from spatial_reduction.networks.own_network import trust_network
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.log import logged
from spatial_reduction.runtime.sole_writer import sole_writer
from spatial_reduction.training.checkpoint import remove_checkpoints

if __name__ == "__main__":
    with logged(snakemake.log[0]), sole_writer(snakemake.output[0]):
        trust_network(snakemake.params.network)
        chain = Chain(snakemake.wildcards.arm, snakemake.wildcards.threshold, int(snakemake.wildcards.seed))
        evaluate_model(
            dataset=snakemake.input.dataset,
            models=snakemake.input.models,
            metrics=snakemake.output.metrics,
            counts=snakemake.output.counts,
            evaluation=Evaluation(**snakemake.params.evaluation),
            step=ReductionStep.from_settings(snakemake.params.reduction, chain.threshold),
            chain=chain,
            machine=Machine(snakemake.params.device, snakemake.threads, snakemake.params.deterministic),
            origin={**snakemake.wildcards, **snakemake.params},
        )
        remove_checkpoints(snakemake.input.models)
