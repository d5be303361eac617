import h5py
import numpy as np
import pytest

from experiments import reduction_step
from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.report.render_examples import render_examples
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.files import create_hdf5
from spatial_reduction.saliency.base import Context, stream_scores

SKY, PET = 0, 1
LEFT, TOP = np.zeros((2, 4, 4), dtype=bool)
LEFT[:, :2] = TOP[:2] = True
COLUMN, ROW = np.zeros((2, 4, 4), dtype=bool)  # the quarter that is deepest in each half, from the other's outline
COLUMN[:, 0] = ROW[0] = True


@pytest.fixture
def pictures(tmp_path):
    """Three grey test images of 4 x 4 pixels, 10 to 25, 30 to 45 and 50 to 65: a pet on the left, none, one on top."""
    first = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    labels = np.stack([LEFT, np.zeros_like(LEFT), TOP]).astype(np.uint8)
    with create_hdf5(tmp_path / "dataset.h5", "dataset") as file:
        file["images"] = np.concatenate([first, first, first + 10, first + 30, first + 50])
        file["labels"] = np.concatenate([labels[:2], labels])
        file["names"] = ["t", "v", "left", "none", "top"]
        for split, positions in {"train": [0], "validation": [1], "test": [2, 3, 4]}.items():
            file[f"split/{split}"] = positions
        file.attrs.update({"classes": ["sky", "pet"], "channel_mean": [0.2], "channel_std": [1], "digest": ""})
    return tmp_path / "dataset.h5"


@pytest.fixture
def examples(pictures, tmp_path):
    """Render two of the three test images through three iterations that keep 50 % each; return the file's arrays."""
    save_model(tmp_path / "model", build_model(1, 2, {"name": "unet", "widths": [2, 4]}, seed=1))

    def run(**changes):
        step = reduction_step("50", **({"source": "oracle", "classes_of_interest": ["pet"]} | changes))
        models, path = [tmp_path / "model"] * 3, tmp_path / "examples.h5"
        render_examples(pictures, models, path, 2, step, Chain("a", "50", 1), Machine("cpu", 1))
        with h5py.File(path) as file:
            return {name: values[:] for name, values in file.items()}

    return run


def shown(images, kept):
    return np.where(np.stack(kept)[..., None], images, 0)


def test_examples_are_spread_over_the_test_split_and_reduced_step_by_step(examples):
    found = examples()
    assert [name.decode() for name in found["names"]] == ["left", "top"]
    assert found["images"][:, 0, 0, 0].tolist() == [10, 50]
    assert np.array_equal(found["labels"], np.stack([LEFT, TOP]))
    assert np.array_equal(found["reduced"][0], found["images"])
    assert np.array_equal(found["reduced"][1], shown(found["images"], [LEFT, TOP]))
    assert np.array_equal(found["reduced"][2], shown(found["images"], [COLUMN, ROW]))


def test_examples_of_a_shuffled_arm_carry_the_masks_and_scores_of_each_other(examples):
    own, exchanged = examples(), examples(shuffle=True)
    assert np.array_equal(exchanged["reduced"][1], shown(own["images"], [TOP, LEFT]))
    assert np.array_equal(exchanged["reduced"][2], shown(own["images"], [ROW, COLUMN]))
    assert np.array_equal(exchanged["saliency"], own["saliency"][:, ::-1])


def test_examples_of_an_inverse_arm_keep_what_is_least_relevant(examples):
    found = examples(rank="lowest")
    assert np.array_equal(found["reduced"][1], shown(found["images"], [~LEFT, ~TOP]))


def test_masks_that_are_made_anew_do_not_compound(examples):
    found = examples(schedule="constant")
    assert np.array_equal(found["reduced"][2], shown(found["images"], [LEFT, TOP]))


def test_the_centre_keeps_ties_in_order_of_pixel_index(examples):
    middle = np.zeros((4, 4), dtype=bool)
    middle[1:3, 1:3] = True
    half = middle.copy()
    half.flat[[1, 2, 4, 7]] = True  # the first four of the eight pixels that are next nearest to the centre
    found = examples(source="centre")
    assert np.array_equal(found["reduced"][1], shown(found["images"], [half, half]))
    assert np.array_equal(found["reduced"][2], shown(found["images"], [middle, middle]))


@pytest.mark.parametrize(("images", "removes", "seen"), [
    ("reduced", "input", 1), ("intact", "input", 0), ("reduced", "loss", 0),
])  # fmt: skip
def test_a_model_scores_the_images_as_it_saw_them(examples, tmp_path, images, removes, seen):
    found = examples(source="probability", saliency_images=images, removes=removes)
    context = Context(tmp_path / "model", Machine("cpu", 1), 2, [PET], seed=1, iteration=3)
    expected = next(stream_scores("probability", [(found["reduced"][seen], found["labels"])], context))
    assert np.array_equal(found["saliency"][1], expected)
    assert (found["reduced"][1] == 0).any()  # what is kept is shown in any case
    assert not np.array_equal(found["reduced"][1], found["reduced"][0])


def test_predictions_are_of_intact_images(examples):
    found = examples()
    assert found["predictions"].shape == (3, 2, 4, 4)
    assert np.array_equal(found["predictions"][0], found["predictions"][2])  # one model, whatever was removed
