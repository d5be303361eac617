"""Train one iteration of one chain."""

from spatial_reduction.runtime.log import logged
from spatial_reduction.training.checkpoint import checkpoint_path
from spatial_reduction.training.train import train_model

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        train_model(
            dataset=snakemake.input.dataset,
            mask=snakemake.input.mask,
            previous_model=snakemake.input.get("previous_model"),
            previous_history=snakemake.input.get("previous_history"),
            output=snakemake.output.model,
            history=snakemake.output.history,
            checkpoint=checkpoint_path(snakemake.output.model),
            model=snakemake.params.model,
            training=snakemake.params.training,
            seed=int(snakemake.wildcards.seed) + snakemake.params.training["seed_offset"],
            threads=snakemake.threads,
            memory_mb=snakemake.resources.mem_mb,
            code=snakemake.input.code,
            **snakemake.params.reduction,
        )
