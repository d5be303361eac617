"""Measure the models of one chain; with that, their trainings are over."""

from spatial_reduction.evaluation.evaluate import evaluate_model
from spatial_reduction.runtime.log import logged
from spatial_reduction.training.checkpoint import remove_checkpoints

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        evaluate_model(
            dataset=snakemake.input.dataset,
            models=snakemake.input.models,
            metrics=snakemake.output.metrics,
            counts=snakemake.output.counts,
            run={name: snakemake.wildcards[name] for name in ("arm", "threshold", "seed")},
            threads=snakemake.threads,
            **snakemake.params,
        )
        remove_checkpoints(snakemake.input.models)
