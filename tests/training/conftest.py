"""What the tests of batches and of where images lie share."""

import numpy as np
import pytest
from safetensors.torch import load_file

from experiments import training_arguments
from spatial_reduction.masks.mask_file import write_mask
from spatial_reduction.training.train import train_model


@pytest.fixture
def half(tmp_path):
    """A mask of the 10 training images: rows 4 to 11 and columns 2 to 9 of 16 x 16 are kept."""
    kept = np.zeros((10, 16, 16), dtype=bool)
    kept[:, 4:12, 2:10] = True
    write_mask(tmp_path / "half.h5", iter([kept]), (16, 16), {})
    return tmp_path / "half.h5", kept


@pytest.fixture
def train_on_half(dataset_path, half, tmp_path):
    """Train on the half mask in tmp_path; return the weights."""

    def run(name="model", training=None, **changes):
        training = {"epochs": 4, "precision": "float32"} | (training or {})
        train_model(**training_arguments(dataset_path, tmp_path, name, training, **({"mask": half[0]} | changes)))
        return load_file(tmp_path / f"{name}.safetensors")

    return run
