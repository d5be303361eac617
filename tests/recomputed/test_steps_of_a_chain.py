"""What the steps of a chain read and record: the images of their own seed, what made the files before, and digests."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments import reduction_step, training_arguments
from spatial_reduction.analysis.counts_file import read_origin
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.evaluation.evaluate import Evaluation, evaluate_model
from spatial_reduction.masks.mask_file import open_mask
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.masks.score_pixels import compute_saliency
from spatial_reduction.masks.shrink import shrink_masks, write_intact_mask
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.files import file_digest, open_hdf5, table_digest
from spatial_reduction.saliency.oracle import signed_distance
from spatial_reduction.training.train import train_model

SEED, MACHINE = 5, Machine("cpu", 1)


@pytest.fixture(scope="module")
def chain(per_seed, tmp_path_factory):
    """A folder of what each step of a chain of two iterations writes."""
    folder = tmp_path_factory.mktemp("chain")
    step = reduction_step("50", source="oracle", classes_of_interest=["pet"])

    def train(name, mask, previous=None):
        changes = {"training": {"epochs": 1}, "previous": previous, "seed": SEED, "origin": {"code": name}}
        arguments = training_arguments(per_seed, folder, name, mask=folder / mask, **changes)
        train_model(**arguments | {"files": replace(arguments["files"], split_seed=SEED)})

    write_intact_mask(per_seed, folder / "mask.h5")
    train("first", "mask.h5")
    scores, model = folder / "scores.h5", folder / "first.safetensors"
    about = {"machine": MACHINE, "seed": SEED, "iteration": 2, "origin": {"code": "scores"}}
    compute_saliency(per_seed, model, folder / "mask.h5", scores, step.scoring, step.removal, **about)
    made = {"output": folder / "next.h5", "table": folder / "kept.csv", "schedule": step.schedule, "iteration": 2}
    shrink_masks(per_seed, scores, folder / "mask.h5", model, **made, seed=SEED, origin={"code": "mask"})
    train("second", "next.h5", "first")
    asked = {"evaluation": Evaluation(["validation", "test"], ["intact"], {}, ["pet"]), "step": step}
    files = {"models": [model, folder / "second.safetensors"], "metrics": folder / "metrics.csv"}
    about = {"chain": Chain("own", "50", SEED), "machine": MACHINE, "origin": {"code": "evaluated"}}
    evaluate_model(per_seed, **files, counts=folder / "counts.h5", **asked, **about)
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
    with open_hdf5(chain / "second.h5", "validation_counts") as file:
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
        found = {split: file[f"intact/{split}/confusion"][-1].sum(axis=2).tolist() for split in ("validation", "test")}
    assert found == {split: pixels_of_classes(Dataset.open(per_seed, SEED), split) for split in found}


def test_the_counts_tell_what_made_them_step_by_step(chain, per_seed):
    data = Dataset.open(per_seed).digest
    first = {"data": data, "train_model": {"code": "first"}}
    second = {"data": data, "compute_saliency": {"code": "scores"}, "shrink_mask": {"code": "mask"}}
    files = [
        {"history": table_digest(chain / f"{name}.csv"), "validation_counts": file_digest(chain / f"{name}.h5")}
        for name in ("first", "second")
    ]
    files[1]["kept_pixels"] = table_digest(chain / "kept.csv")
    assert read_origin(chain / "counts.h5") == {
        "data": data,
        "trainings": [first, second | {"train_model": {"code": "second"}}],
        "evaluate_model": {"code": "evaluated"},
        "metrics": table_digest(chain / "metrics.csv"),
        "files": files,
    }


def test_a_mask_names_the_mask_and_the_model_before_it(chain):
    with open_mask(chain / "mask.h5", 10, (16, 16)) as before, open_mask(chain / "next.h5", 10, (16, 16)) as masks:
        assert masks.attributes["parent_digest"] == before.attributes["digest"] != masks.attributes["digest"]
        assert masks.attributes["model_digest"] == file_digest(chain / "first.safetensors")
