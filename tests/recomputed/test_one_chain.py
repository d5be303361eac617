"""One chain recomputed by a second implementation, made by the library's functions and so within seconds.

Its network has dropout, its training flips; images are read in several blocks.
"""

import copy
from dataclasses import replace

import pytest
from snakemake.utils import update_config

from experiments import reduction_step, training_arguments
from recomputed_chain import (
    EXPERIMENT,
    FAMILIES,
    FRONT,
    GROUPS,
    ITERATIONS,
    REDUCING,
    THRESHOLD,
    Run,
    check_masks,
    check_measures,
    check_training,
    draw_pictures,
)
from spatial_reduction.analysis.tables import collect_histories, collect_kept_pixels, collect_metrics
from spatial_reduction.data import dataset_file
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.evaluation.evaluate import Evaluation, evaluate_model
from spatial_reduction.masks.score_pixels import compute_saliency
from spatial_reduction.masks.shrink import shrink_masks, write_intact_mask
from spatial_reduction.runtime.device import Machine
from spatial_reduction.training.train import train_model

ARM, SEED, EPOCHS = "own", 2, 6
PROTOCOLS = ["intact", "self_masked", "label_masked", *FAMILIES, "background_swapped", "background_blurred"]


class OneChain(Run):
    """The files of the chain, one folder per iteration."""

    epochs = EPOCHS

    def folder(self, arm, seed, iteration):
        return self.results / f"iteration_{iteration}"


@pytest.fixture(scope="module")
def run(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("one_chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_file, "BLOCK_PIXELS", 5 * 256)  # five images a block
        yield make_chain(folder, copy.deepcopy(config))


def make_chain(folder, config):
    results = folder / "results/demo"
    draw_pictures(folder / "raw")
    results.mkdir(parents=True)
    update_config(config, EXPERIMENT)
    prepare_dataset(folder / "raw", results / "dataset.h5", config["dataset"], threads=1)
    common, machine = {"dataset": results / "dataset.h5"}, Machine("cpu", 1)
    step = reduction_step(THRESHOLD, classes_of_interest=["disc", "rim"])
    training = {"epochs": EPOCHS, "learning_rate": 0.01, "augmentation": ["flip"]}
    training["schedule"] = config["training"]["schedule"] | {"kind": "plateau", "monitor": "validation"}
    labels, models = [], []
    for iteration in range(1, ITERATIONS + 1):
        here, before = (results / f"iteration_{number}" for number in (iteration, iteration - 1))
        here.mkdir()
        if iteration == 1:
            write_intact_mask(**common, output=here / "mask.h5")
        else:
            last = {"model": before / "model.safetensors"}
            scores = {"output": here / "saliency.h5", "scoring": step.scoring, "removal": step.removal}
            about = {"machine": machine, "seed": SEED, "iteration": iteration}
            compute_saliency(**common, **last, mask=before / "mask.h5", **scores, **about)
            files = {"saliency": here / "saliency.h5", "parent": before / "mask.h5", "output": here / "mask.h5"}
            files["table"] = here / "kept_pixels.csv"
            shrink_masks(**common, **last, **files, schedule=step.schedule, iteration=iteration, seed=SEED)
        arguments = training_arguments(results / "dataset.h5", here, training=training, mask=here / "mask.h5")
        files = {"history": here / "history.csv"}
        if iteration > 1:
            files |= {"previous_model": before / "model.safetensors", "previous_history": before / "history.csv"}
        arguments["files"] = replace(arguments["files"], **files)
        train_model(**arguments | {"model": {"name": "unet", **REDUCING[ARM]}, "seed": SEED})
        labels.append([ARM, THRESHOLD, SEED, iteration])
        models.append(here / "model.safetensors")
    asked = {"splits": ["validation", "test"], "protocols": PROTOCOLS, "class_groups": GROUPS, "foreground": FRONT}
    evaluate_model(
        **common,
        models=models,
        metrics=results / "chain.csv",
        counts=results / "counts.h5",
        evaluation=Evaluation(**asked),
        step=step,
        chain=Chain(ARM, THRESHOLD, SEED),
        machine=machine,
    )
    collect_metrics([results / "chain.csv"], results / "metrics.csv")
    tables = [[path.parent / name for path in models] for name in ("history.csv", "kept_pixels.csv")]
    collect_histories(tables[0], labels, results / "history.csv")
    collect_kept_pixels(tables[1][1:], labels[1:], results / "kept_pixels.csv")
    return OneChain(folder)


def test_every_mask(run):
    check_masks(run, ARM, SEED)


def test_every_measure(run):
    check_measures(run, ARM, THRESHOLD, SEED)


@pytest.mark.parametrize("iteration", range(1, ITERATIONS + 1))
def test_every_training(run, iteration):
    check_training(run, ARM, SEED, iteration)
