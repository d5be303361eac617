import h5py
import numpy as np
import pytest

from spatial_reduction.masks.score_pixels import mask_carriers
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.report.render_examples import render_examples

REDUCTION = {
    "source": "oracle",
    "rank": "highest",
    "shuffle": False,
    "saliency_images": "reduced",
    "fill": "mask",
    "removes": "input",
    "classes_of_interest": ["pet", "border"],
    "schedule": "compounding",
    "step": 0,
}


@pytest.fixture
def shown(dataset_path, tmp_path):
    """Return the masks (fill `mask`) that iterations 2 and 3 give to four test images."""
    save_model(tmp_path / "model", build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1))

    def run(**changes):
        models, path = [tmp_path / "model"] * 3, tmp_path / "examples.h5"
        render_examples(dataset_path, models, path, 4, REDUCTION | changes, "50", 1, "cpu", 1)
        with h5py.File(path) as file:
            return file["reduced"][1:, ..., 0] > 0

    return run


@pytest.mark.parametrize("source", ["oracle", "probability", "centre", "random_blocks"])
def test_examples_keep_as_many_pixels_as_training_images(shown, source):
    assert (shown(source=source).sum(axis=(2, 3)) == [[128], [64]]).all()


def test_examples_of_a_shuffled_arm_carry_the_masks_of_each_other(shown):
    carriers = mask_carriers(4, seed=1)
    assert np.array_equal(shown(shuffle=True)[:, carriers], shown())


def test_examples_of_an_inverse_arm_keep_what_the_method_removes(shown):
    anew = {"source": "random", "schedule": "constant"}  # without ties
    assert np.array_equal(shown(rank="lowest", **anew), ~shown(**anew))
