"""What tests share: a folder of drawn pets, the configuration of a small data set, the prepared file."""

import copy
import os
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file
from snakemake.utils import update_config

from experiments import ROOT, reduction_step, run_snakemake, training_arguments
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.data.synthetic_pets import draw_synthetic_pets
from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.evaluation.evaluate import Evaluation, evaluate_model
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.masks.score_pixels import Scoring, compute_saliency
from spatial_reduction.masks.shrink import write_intact_mask
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.training.train import train_model

# No test of a property asserts a time: a busy machine would fail it.
# A change is judged on the same examples as the one before; `pytest --hypothesis-profile=new` draws others.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("new", deadline=None)
hypothesis.settings.load_profile("same")


SECONDS = {"pipeline": 600, "slow": 1200}  # a test may take; any other what pyproject.toml says


def pytest_collection_modifyitems(items):
    """Let tests that run a whole workflow, and slow ones, take longer; their files come first.

    A file's tests stay in one process: a long file that came last would leave the other processes idle.
    """
    long = {item.path for item in items if item.get_closest_marker("pipeline")}
    items.sort(key=lambda item: item.path not in long)
    for item in items:
        for marker, seconds in SECONDS.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.timeout(seconds), append=False)


@pytest.fixture(scope="session")
def config():
    """The embedded configuration; a fresh copy is needed to change it."""
    return yaml.safe_load((ROOT / "config/config.yaml").read_text())


@pytest.fixture(scope="session")
def pets(tmp_path_factory):
    """A folder of 24 drawn pets, 32 x 32 pixels, in the Oxford-IIIT Pet layout; not to be changed."""
    folder = tmp_path_factory.mktemp("raw") / "pets"
    draw_synthetic_pets(folder, images=24, side=32, test_share=50, seed=0)
    return folder


@pytest.fixture
def dataset_config(config):
    """The section `dataset` for `pets`, at 16 x 16 pixels."""
    section = copy.deepcopy(config["dataset"])
    section["image_size"] = 16
    for entry in section["classes"]:
        del entry["share"]
    return section


def prepared(pets, config, folder, **split):
    """Prepare `pets` at 16 x 16 pixels with changes of the section `dataset.split`; return the file."""
    section = copy.deepcopy(config["dataset"]) | {"image_size": 16}
    section["split"] |= split
    for entry in section["classes"]:
        del entry["share"]
    prepare_dataset(pets, folder / "dataset.h5", section, threads=2)
    return folder / "dataset.h5"


@pytest.fixture(scope="session")
def dataset_path(pets, config, tmp_path_factory):
    """A prepared data set of `pets`: 10 train, 2 validation, 12 test images; not to be changed."""
    return prepared(pets, config, tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def per_seed(pets, config, tmp_path_factory):
    """The same with training and validation images of each seed's own; not to be changed."""
    return prepared(pets, config, tmp_path_factory.mktemp("per_seed"), per_seed=True)


@pytest.fixture(scope="session")
def dataset(dataset_path):
    return Dataset.open(dataset_path)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data that REAL_DATA names."""
    folder = os.environ.get("REAL_DATA")
    if not folder:
        pytest.skip("REAL_DATA does not name a folder of real data")
    return Path(folder)


@pytest.fixture
def snakemake(tmp_path):
    """Run the workflow in an empty working directory; see `run_snakemake`."""

    def run(*arguments, **options):
        return run_snakemake(tmp_path, *arguments, **options)

    return run


@pytest.fixture
def checked(config):
    """Lay overrides over the embedded configuration and run all checks; return what they define.

    Keywords are the folder of the checkout, and attributes of the workflow, as snakemake has them.
    """
    files = [ROOT / f"workflow/rules/{name}.smk" for name in ("checks", "files", "configuration", "design")]
    checks = [compile(file.read_text().partition("\nwildcard_constraints:")[0], file, "exec") for file in files]

    def run(overrides, checkout=ROOT, **workflow):
        merged = copy.deepcopy(config)
        update_config(merged, overrides)
        workflow = SimpleNamespace(**({"is_main_process": False} | workflow))
        defined = {"config": merged, "workflow": workflow, "CHECKOUT": str(checkout), "IS_MODULE": False}
        for each in checks:
            exec(each, defined)
        return defined

    return run


@pytest.fixture
def refusal(checked):
    """Return the line with which overrides are refused, without its "config: "."""

    def run(overrides):
        with pytest.raises(SystemExit) as refused:
            checked(overrides)
        return refused.value.code.removeprefix("config: ")

    return run


@pytest.fixture
def train(dataset_path, tmp_path):
    """Train in tmp_path; return (weights, history)."""
    write_intact_mask(dataset_path, tmp_path / "mask.h5")

    def run(name="model", training=None, previous=None, **changes):
        train_model(**training_arguments(dataset_path, tmp_path, name, training=training, previous=previous, **changes))
        return load_file(tmp_path / f"{name}.safetensors"), pd.read_csv(tmp_path / f"{name}.csv")

    return run


@pytest.fixture
def model_files(dataset_path, tmp_path):
    """A small model with an intact mask, as `compute_saliency` takes them."""
    save_model(tmp_path / "model.safetensors", build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1))
    write_intact_mask(dataset_path, tmp_path / "mask.h5")
    return {"dataset": dataset_path, "model": tmp_path / "model.safetensors", "mask": tmp_path / "mask.h5"}


@pytest.fixture
def scores_of(model_files, dataset):
    """Compute the scores of the training images into a file; return them."""

    def run(path, source="random", seed=1, iteration=2, **changes):
        arm = {"scoring": Scoring(source, ["pet", "border"], **changes), "removal": Removal()}
        machine = Machine("cpu", 1)
        compute_saliency(**model_files, output=path, **arm, machine=machine, seed=seed, iteration=iteration)
        with open_scores(path, dataset.count("train"), dataset.image_shape[:2]) as scores:
            return scores[:]

    return run


@pytest.fixture
def evaluate(dataset_path, tmp_path):
    for seed in (1, 2):
        section = {"name": "unet", "widths": [4, 8], "initialisation": "he"}  # predicts every class somewhere
        save_model(tmp_path / f"{seed}.safetensors", build_model(3, 3, section, seed))

    def run(models=(1, 2), source="probability", dataset=dataset_path, deterministic=False, **changes):
        settings = {
            "splits": ["validation", "test"],
            "protocols": ["intact"],
            "class_groups": {"pet_and_background": ["pet", "background"]},
            "foreground": ["pet", "border"],
        }
        evaluate_model(
            dataset=dataset,
            models=[tmp_path / f"{name}.safetensors" for name in models],
            metrics=tmp_path / "metrics.csv",
            counts=tmp_path / "counts.h5",
            evaluation=Evaluation(**(settings | changes)),
            step=reduction_step("92.5", source=source),
            chain=Chain("a", "92.5", 1),
            machine=Machine("cpu", 1, deterministic),
        )
        return pd.read_csv(tmp_path / "metrics.csv", dtype={"threshold": str})

    return run
