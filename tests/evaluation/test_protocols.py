from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import second_implementation as second
from experiments import reduction_step
from spatial_reduction.data import dataset_file as dataset_module
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.evaluation.backgrounds import complete_background, donor_positions
from spatial_reduction.evaluation.protocols import build_views
from spatial_reduction.masks.ranking import kept_count
from spatial_reduction.masks.score_pixels import Scoring
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.files import create_hdf5
from spatial_reduction.saliency.base import Context
from spatial_reduction.saliency.oracle import signed_distance
from spatial_reduction.saliency.probability import stream_scores as log_odds

EVERYTHING = ["intact", "self_masked", "label_masked", "noise", "blur", "brightness", "contrast", "jpeg", "occlusion"]
EVERYTHING += ["background_swapped", "background_blurred"]
KEPT = kept_count(16 * 16, 30)
THIRTY = {"schedule": "constant", "threshold": "30"}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """Iteration 2, after a tiny model."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1))
    return Context(path, Machine("cpu", 1), 3, [1, 2], seed=1, iteration=2)


@pytest.fixture
def show(dataset, context):
    """Return all test images and labels by one view."""

    def run(protocol, view, **changes):
        views = build_views([protocol], dataset, ["pet", "border"], reduction_step(**THIRTY | changes), context)
        return gathered(views[view](dataset.blocks("test")))

    return run


def gathered(blocks):
    _, images, labels = zip(*blocks, strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.fixture
def intact(dataset):
    return dataset.pick("test", range(12))


def is_removed(images):
    """Pixels that are black; no pixel of the drawn pets is."""
    return (images == 0).all(axis=-1)


def test_a_family_of_corruptions_stands_for_its_three_severities(dataset, context):
    views = build_views(EVERYTHING, dataset, ["pet", "border"], reduction_step(**THIRTY), context)
    families = ("noise", "blur", "brightness", "contrast", "jpeg", "occlusion")
    corrupted = [f"{family}_{severity}" for family in families for severity in (1, 2, 3)]
    assert list(views) == ["self_masked", "label_masked", *corrupted, "background_swapped", "background_blurred"]
    assert list(build_views(["intact"], dataset, ["pet"], reduction_step(**THIRTY), context)) == []
    assert list(
        build_views(["intact", "blur"], dataset, ["pet"], reduction_step(**THIRTY, source="oracle"), context)
    ) == [
        "blur_1",
        "blur_2",
        "blur_3",
    ]


@pytest.mark.parametrize("source", ["probability", "random"])
@pytest.mark.parametrize("fill", ["black", "noise", "blur"])
def test_views_do_not_depend_on_the_division_into_blocks(dataset, context, source, fill, monkeypatch):
    seen = []
    for images in (12, 5, 1):
        monkeypatch.setattr(dataset_module, "BLOCK_PIXELS", images * 16 * 16)
        assert dataset.block_count("test") == -(-12 // images)
        names = EVERYTHING if fill == "noise" else ["self_masked", "label_masked"]
        step = reduction_step(**THIRTY, source=source, fill=fill)
        views = build_views(names, dataset, ["pet", "border"], step, context)
        seen.append({name: gathered(view(dataset.blocks("test"))) for name, view in views.items()})
    assert seen[0].keys() == seen[1].keys() == seen[2].keys()
    for name, (images, labels) in seen[0].items():
        assert images.dtype == labels.dtype == np.uint8
        for others in seen[1:]:
            assert np.array_equal(images, others[name][0]), name
            assert np.array_equal(labels, others[name][1]), name


@pytest.mark.parametrize("schedule", ["constant", "compounding"])
def test_self_masked_images_keep_what_the_previous_model_finds_most_relevant(show, intact, context, schedule):
    images, labels = show("self_masked", "self_masked", schedule=schedule)
    scores = next(log_odds([intact], context)).reshape(12, -1)
    kept = ~is_removed(images).reshape(12, -1)
    assert not is_removed(intact[0]).any()
    assert (kept.sum(axis=1) == KEPT).all()
    for own, is_kept in zip(scores, kept, strict=True):
        assert own[is_kept].min() >= own[~is_kept].max()
    assert np.array_equal(images[~is_removed(images)], intact[0][~is_removed(images)])
    assert np.array_equal(labels, intact[1])


@pytest.mark.parametrize("view", ["self_masked", "label_masked"])
def test_removed_pixels_are_filled_as_in_training(show, intact, dataset, context, view):
    removed = is_removed(show(view, view)[0])
    assert (show(view, view, fill="mean")[0][removed] == np.rint(255 * np.array(dataset.mean))).all()
    generators = [np.random.default_rng((context.seed, position)) for position in range(12)]
    noise = np.stack([each.integers(0, 256, (16, 16, 3), dtype=np.uint8) for each in generators])
    found = show(view, view, fill="noise")[0]
    assert np.array_equal(found, np.where(removed[..., None], noise, intact[0]))


def test_the_least_relevant_pixels_are_the_rest_of_the_most_relevant(show):
    best, worst = (
        is_removed(show("self_masked", "self_masked", threshold="50", rank=rank)[0]) for rank in ("highest", "lowest")
    )
    assert np.array_equal(best, ~worst)


def test_exchanged_masks_are_those_of_other_test_images(show, context):
    own, exchanged = (is_removed(show("self_masked", "self_masked", shuffle=shuffle)[0]) for shuffle in (False, True))
    assert np.array_equal(exchanged[Scoring("random", [], shuffle=True).carriers(12, context.seed)], own)


def test_an_arm_that_leaves_its_images_intact_does_not_mask_itself(dataset, context):
    step = reduction_step(**THIRTY, removes="loss")
    assert list(build_views(["self_masked", "label_masked"], dataset, ["pet"], step, context)) == ["label_masked"]


def test_what_such_an_arm_keeps_is_shown_all_the_same_by_the_labels_mask(show):
    images, labels = show("label_masked", "label_masked", removes="loss")
    expected = show("label_masked", "label_masked")
    assert is_removed(images).any()
    assert np.array_equal(images, expected[0])
    assert np.array_equal(labels, expected[1])


def test_self_masking_does_not_see_the_labels(dataset, context):
    view = build_views(["self_masked"], dataset, ["pet"], reduction_step(**THIRTY), context)["self_masked"]
    blocks = [(block, images, np.zeros_like(labels)) for block, images, labels in dataset.blocks("test")]
    assert np.array_equal(gathered(view(blocks))[0], gathered(view(dataset.blocks("test")))[0])


def test_oracle_masked_images_keep_the_pixels_deepest_in_the_foreground(show, intact):
    images, _ = show("label_masked", "label_masked", threshold="7.8125")
    kept = ~is_removed(images)
    assert (kept.sum(axis=(1, 2)) == 20).all()
    for label, is_kept in zip(intact[1], kept, strict=True):
        depth = signed_distance(np.isin(label, [1, 2]))
        assert depth[is_kept].min() >= depth[~is_kept].max()


def test_without_an_iteration_before_nothing_masks_itself(dataset, context):
    first = replace(context, iteration=1, model=Path("none"))
    assert list(build_views(["self_masked", "label_masked"], dataset, ["pet"], reduction_step(), first)) == [
        "label_masked"
    ]


def test_a_pet_stands_on_another_images_background(show, intact):
    images, labels = show("background_swapped", "background_swapped")
    for position, donor in enumerate(donor_positions(12)):
        is_front, lent_front = (np.isin(intact[1][index], [1, 2]) for index in (position, donor))
        assert np.array_equal(images[position][is_front], intact[0][position][is_front])
        is_seen = ~is_front & ~lent_front
        assert np.array_equal(images[position][is_seen], intact[0][donor][is_seen])
        filled = complete_background(intact[0][donor], ~lent_front)
        assert np.array_equal(images[position][~is_front], filled[~is_front])
        assert np.array_equal(labels[position], np.where(is_front, intact[1][position], 0))
    expected = second.on_other_backgrounds(*intact, [1, 2], 3)
    assert np.array_equal(images, expected[0])
    assert np.array_equal(labels, expected[1])


def test_a_blurred_background_leaves_the_pet_and_the_labels(show, intact):
    images, labels = show("background_blurred", "background_blurred")
    is_front = np.isin(intact[1], [1, 2])
    assert np.array_equal(labels, intact[1])
    assert np.array_equal(images[is_front], intact[0][is_front])
    assert images[~is_front].std() < intact[0][~is_front].std()
    assert np.array_equal(images, second.on_blurred_backgrounds(*intact, [1, 2]))


@pytest.fixture
def two_pictures(tmp_path):
    """Two pictures of 4 pixels, classes sky, sea and pet; the test split."""
    labels = np.array([[[2, 0], [1, 255]], [[0, 1], [2, 0]]], dtype=np.uint8)
    with create_hdf5(tmp_path / "dataset.h5", "dataset") as file:
        images = np.array([[[10, 11], [12, 13]], [[20, 21], [22, 23]]], dtype=np.uint8)[..., None]
        file["images"], file["labels"] = np.concatenate([images, images]), np.concatenate([labels, labels])
        file["names"] = ["a", "b", "c", "d"]
        for split, positions in {"train": [0], "validation": [1], "test": [2, 3]}.items():
            file[f"split/{split}"] = positions
        file.attrs.update({"classes": ["sky", "sea", "pet"], "channel_mean": [0.5], "channel_std": [1], "digest": ""})
    return Dataset.open(tmp_path / "dataset.h5")


def test_where_background_is_of_several_classes_a_filled_hole_is_of_none(two_pictures, context):
    views = build_views(["background_swapped"], two_pictures, ["pet"], reduction_step(), context)
    images, labels = gathered(views["background_swapped"](two_pictures.blocks("test")))
    # The first pet stands on the second picture, whose pet leaves a hole at the lower left; and the other way round,
    # where the ignored pixel of the first picture is a hole, too.
    assert labels.tolist() == [[[2, 1], [255, 0]], [[255, 0], [2, 255]]]
    assert (images[0, 0, 0, 0], images[0, 0, 1, 0], images[0, 1, 1, 0]) == (10, 21, 23)
    assert (images[1, 0, 1, 0], images[1, 1, 0, 0]) == (11, 22)
