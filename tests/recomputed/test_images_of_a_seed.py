"""Every step of a chain reads the training and validation images of its own seed, where seeds have their own."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments import reduction_step, training_arguments
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.evaluation.evaluate import Evaluation, evaluate_model
from spatial_reduction.masks.mask_file import open_mask
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.masks.score_pixels import compute_saliency
from spatial_reduction.masks.shrink import shrink_masks, write_intact_mask
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.files import open_hdf5
from spatial_reduction.saliency.oracle import signed_distance
from spatial_reduction.training.train import train_model

SEED, MACHINE = 5, Machine("cpu", 1)


@pytest.fixture(scope="module")
def chain(per_seed, tmp_path_factory):
    """A folder of what each step of a chain of two iterations writes, but for the last training."""
    folder = tmp_path_factory.mktemp("chain")
    step = reduction_step("50", source="oracle", classes_of_interest=["pet"])
    write_intact_mask(per_seed, folder / "mask.h5")
    arguments = training_arguments(per_seed, folder, training={"epochs": 1}, seed=SEED)
    train_model(**arguments | {"files": replace(arguments["files"], split_seed=SEED)})
    scores, model = folder / "scores.h5", folder / "model.safetensors"
    about = {"machine": MACHINE, "seed": SEED, "iteration": 2}
    compute_saliency(per_seed, model, folder / "mask.h5", scores, step.scoring, step.removal, **about)
    made = {"output": folder / "next.h5", "table": folder / "kept.csv", "schedule": step.schedule, "iteration": 2}
    shrink_masks(per_seed, scores, folder / "mask.h5", model, **made, seed=SEED)
    asked = Evaluation(["validation", "test"], ["intact"], {}, ["pet"])
    files = {"models": [model], "metrics": folder / "metrics.csv", "counts": folder / "counts.h5"}
    evaluate_model(per_seed, **files, evaluation=asked, step=step, chain=Chain("own", "50", SEED), machine=MACHINE)
    return folder


def pixels_of_classes(data, split):
    return [
        np.bincount(each.reshape(-1), minlength=3).tolist() for each in data.pick(split, range(data.count(split)))[1]
    ]


def test_the_seed_has_images_of_its_own(per_seed):
    own, prepared = (Dataset.open(per_seed, seed) for seed in (SEED, None))
    for split in ("train", "validation"):
        assert pixels_of_classes(own, split) != pixels_of_classes(prepared, split)


def test_a_training_validates_on_them(chain, per_seed):
    with open_hdf5(chain / "model.h5", "validation_counts") as file:
        found = file["confusion"][0].sum(axis=2).tolist()
    assert found == pixels_of_classes(Dataset.open(per_seed, SEED), "validation")


def test_scores_masks_and_what_they_keep_are_of_them(chain, per_seed):
    labels = Dataset.open(per_seed, SEED).pick("train", range(10))[1]
    with open_scores(chain / "scores.h5", 10, (16, 16)) as scores, open_mask(chain / "next.h5", 10, (16, 16)) as masks:
        assert np.array_equal(scores[:], [signed_distance(each == 1) for each in labels])
        kept = masks.read()
    table = pd.read_csv(chain / "kept.csv").set_index(["measure", "class"])["value"]
    for index, name in enumerate(("background", "pet", "border")):
        assert table["recall", name] == pytest.approx(100 * kept[labels == index].mean())


def test_models_are_measured_on_them(chain, per_seed):
    with open_hdf5(chain / "counts.h5", "counts") as file:
        found = {split: file[f"intact/{split}/confusion"][0].sum(axis=2).tolist() for split in ("validation", "test")}
    assert found == {split: pixels_of_classes(Dataset.open(per_seed, SEED), split) for split in found}
