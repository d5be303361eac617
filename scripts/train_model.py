"""Train one iteration of one chain."""

from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.log import logged
from spatial_reduction.runtime.sole_writer import sole_writer
from spatial_reduction.training.checkpoint import checkpoint_path
from spatial_reduction.training.train import TrainingFiles, train_model

if __name__ == "__main__":
    with logged(snakemake.log[0]), sole_writer(snakemake.output[0]):
        training = snakemake.params.training
        train_model(
            files=TrainingFiles(
                checkpoint=checkpoint_path(snakemake.output.model),
                **{name: path for name, path in snakemake.input.items() if path},
                split_seed=int(snakemake.wildcards.seed),
                **snakemake.output,
            ),
            model=snakemake.params.model,
            training=training,
            removal=Removal(**snakemake.params.removal),
            start=snakemake.params.start,
            seed=int(snakemake.wildcards.seed) + training["seed_offset"],
            machine=Machine(training["device"], snakemake.threads, training["deterministic"]),
            origin={**snakemake.wildcards, **snakemake.params},
            memory_mb=snakemake.resources.mem_mb,
        )
