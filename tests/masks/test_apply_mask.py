import numpy as np
import pytest

from spatial_reduction.masks.apply_mask import Removal, fill_removed, reduced_blocks
from spatial_reduction.masks.shrink import write_intact_mask

IMAGES = np.random.default_rng(0).integers(1, 256, (2, 8, 8, 3), dtype=np.uint8)
KEPT = np.zeros((2, 8, 8), dtype=bool)
KEPT[:, :, :4] = True
MEAN = (0.5, 0.25, 1.0)


@pytest.mark.parametrize("fill", ["black", "mean", "blur", "noise"])
def test_kept_pixels_stay_and_removed_ones_change(fill):
    reduced = fill_removed(IMAGES, KEPT, fill, MEAN, seed=1, positions=[0, 1])
    assert reduced.dtype == np.uint8
    assert np.array_equal(reduced[KEPT], IMAGES[KEPT])
    assert not np.array_equal(reduced[~KEPT], IMAGES[~KEPT])


def test_black_is_zero_and_mean_is_the_channel_mean_in_raw_units():
    assert (fill_removed(IMAGES, KEPT, "black", MEAN, seed=1, positions=[0, 1])[~KEPT] == 0).all()
    assert (fill_removed(IMAGES, KEPT, "mean", MEAN, seed=1, positions=[0, 1])[~KEPT] == [128, 64, 255]).all()


def test_noise_depends_on_its_seed_alone():
    first, same, other = (fill_removed(IMAGES, KEPT, "noise", MEAN, seed, [5, 3]) for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_noise_is_that_of_the_image_whatever_images_come_with_it():
    both = fill_removed(IMAGES, KEPT, "noise", MEAN, 1, [5, 3])
    assert np.array_equal(fill_removed(IMAGES[1:], KEPT[1:], "noise", MEAN, 1, [3]), both[1:])
    assert not np.array_equal(both[0][~KEPT[0]], both[1][~KEPT[1]])


def test_blur_keeps_the_mean_brightness_and_loses_the_detail():
    blurred = fill_removed(IMAGES, np.zeros_like(KEPT), "blur", MEAN, seed=1, positions=[0, 1])
    assert abs(blurred.mean() - IMAGES.mean()) < 10
    assert blurred.std() < 0.5 * IMAGES.std()


def test_blur_does_not_mix_images_or_channels():
    images = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    images[0, ..., 0] = 200
    blurred = fill_removed(images, np.zeros((2, 8, 8), bool), "blur", MEAN, seed=1, positions=[0, 1])
    assert np.array_equal(blurred, images)


@pytest.mark.parametrize("fill", ["black", "mean", "blur", "noise"])
def test_an_intact_mask_changes_nothing(fill):
    assert np.array_equal(fill_removed(IMAGES, np.ones_like(KEPT), fill, MEAN, seed=1, positions=[0, 1]), IMAGES)


def test_the_intact_mask_gives_the_training_split_as_it_is(dataset_path, dataset, tmp_path):
    write_intact_mask(dataset_path, tmp_path / "mask.h5")
    blocks = list(reduced_blocks(dataset, tmp_path / "mask.h5", Removal(), seed=1))
    images, labels = dataset.pick("train", range(10))
    assert np.array_equal(np.concatenate([pixels for _, pixels, _ in blocks]), images)
    assert np.array_equal(np.concatenate([some for _, _, some in blocks]), labels)
