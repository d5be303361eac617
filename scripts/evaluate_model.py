"""Measure the models of one chain; with that, their trainings are over."""

from spatial_reduction.evaluation.evaluate import evaluate_model
from spatial_reduction.runtime.log import logged
from spatial_reduction.runtime.sole_writer import sole_writer
from spatial_reduction.training.checkpoint import remove_checkpoints

if __name__ == "__main__":
    with logged(snakemake.log[0]), sole_writer(snakemake.output[0]):
        evaluate_model(
            dataset=snakemake.input.dataset,
            models=snakemake.input.models,
            metrics=snakemake.output.metrics,
            counts=snakemake.output.counts,
            run={name: snakemake.wildcards[name] for name in ("arm", "threshold", "seed")},
            threads=snakemake.threads,
            splits=snakemake.params.splits,
            protocols=snakemake.params.protocols,
            class_groups=snakemake.params.class_groups,
            foreground=snakemake.params.foreground,
            objects=snakemake.params.objects,
            reduction=snakemake.params.reduction,
            device=snakemake.params.device,
            deterministic=snakemake.params.deterministic,
            test_time_augmentation=snakemake.params.test_time_augmentation,
        )
        remove_checkpoints(snakemake.input.models)
