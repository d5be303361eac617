import numpy as np
import pytest

from spatial_reduction.data import dataset_file
from spatial_reduction.masks.apply_mask import Removal, fill_removed, impute, reduced_blocks
from spatial_reduction.masks.mask_file import write_mask
from spatial_reduction.masks.shrink import write_intact_mask

IMAGES = np.random.default_rng(0).integers(1, 256, (2, 8, 8, 3), dtype=np.uint8)
KEPT = np.zeros((2, 8, 8), dtype=bool)
KEPT[:, :, :4] = True
MEAN = (0.5, 0.25, 1.0)


@pytest.mark.parametrize("fill", ["black", "mean", "blur", "noise", "linear"])
def test_kept_pixels_stay_and_removed_ones_change(fill):
    reduced = fill_removed(IMAGES, KEPT, fill, MEAN, seed=1, positions=[0, 1])
    assert reduced.dtype == np.uint8
    assert np.array_equal(reduced[KEPT], IMAGES[KEPT])
    assert not np.array_equal(reduced[~KEPT], IMAGES[~KEPT])


def test_black_is_zero_and_mean_is_the_channel_mean_in_raw_units():
    assert (fill_removed(IMAGES, KEPT, "black", MEAN, seed=1, positions=[0, 1])[~KEPT] == 0).all()
    assert (fill_removed(IMAGES, KEPT, "mean", MEAN, seed=1, positions=[0, 1])[~KEPT] == [128, 64, 255]).all()


@pytest.mark.parametrize("fill", ["noise", "linear"])
def test_noise_depends_on_its_seed_alone(fill):
    first, same, other = (fill_removed(IMAGES, KEPT, fill, MEAN, seed, [5, 3]) for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fill", ["noise", "linear"])
def test_noise_is_that_of_the_image_whatever_images_come_with_it(fill):
    both = fill_removed(IMAGES, KEPT, fill, MEAN, 1, [5, 3])
    assert np.array_equal(fill_removed(IMAGES[1:], KEPT[1:], fill, MEAN, 1, [3]), both[1:])
    assert not np.array_equal(both[0][~KEPT[0]], both[1][~KEPT[1]])


def test_noise_is_drawn_from_the_seed_and_the_place_of_its_image():
    first, second = ([np.random.default_rng((1, place)) for place in (5, 3)] for _ in range(2))
    filled = fill_removed(IMAGES, np.zeros_like(KEPT), "noise", MEAN, 1, [5, 3])
    assert np.array_equal(filled, [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for rng in first])
    filled = fill_removed(IMAGES, np.zeros_like(KEPT), "linear", (0.5, 0.5, 0.5), 1, [5, 3])
    assert np.array_equal(filled, [np.rint(127.5 + 2.55 * rng.standard_normal((8, 8, 3))) for rng in second])


def test_only_the_mask_is_shown_where_it_is_all_that_is_wanted():
    shown = fill_removed(IMAGES, KEPT, "mask", MEAN, seed=1, positions=[0, 1])
    assert shown.shape == IMAGES.shape
    assert (shown[KEPT] == 255).all()
    assert (shown[~KEPT] == 0).all()


def test_imputed_pixels_by_hand():
    row = np.array([[0, 99, 99, 30]], dtype=np.uint8)[..., None]
    known = np.array([[True, False, False, True]])
    assert impute(row, known, MEAN)[0, :, 0] == pytest.approx([0, 10, 20, 30])
    square = np.array([[12, 24, 36], [48, 0, 60], [72, 84, 96]], dtype=np.uint8)[..., None]
    known = np.ones((3, 3), bool)
    known[1, 1] = False
    expected = (24 + 48 + 60 + 84) / 6 + (12 + 36 + 72 + 96) / 12
    assert impute(square, known, MEAN)[1, 1, 0] == pytest.approx(expected)
    known[0, 0], known[1, 1] = False, True  # in the corner, three neighbours: weights 1/6, 1/6, 1/12 of 5/12
    assert impute(square, known, MEAN)[0, 0, 0] == pytest.approx((24 / 6 + 48 / 6 + 0 / 12) / (5 / 12))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_imputing_solves_one_equation_for_each_removed_pixel(share):
    rng = np.random.default_rng(3)
    image, known = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8), rng.random((7, 9)) < share
    known[3, 4] = True
    system, right = np.eye(63), image.reshape(63, 3).astype(float)
    for row, column in zip(*np.nonzero(~known), strict=True):
        at = 9 * row + column
        near = [(y, x) for y in (row - 1, row, row + 1) for x in (column - 1, column, column + 1)]
        near = [(y, x) for y, x in near if 0 <= y < 7 and 0 <= x < 9 and (y, x) != (row, column)]
        weights = np.array([1 / 6 if y == row or x == column else 1 / 12 for y, x in near])
        right[at] = 0
        for (y, x), weight in zip(near, weights / weights.sum(), strict=True):
            system[at, 9 * y + x] -= weight
    expected = np.linalg.solve(system, right).reshape(7, 9, 3)
    assert np.allclose(impute(image, known, MEAN), expected)
    filled = fill_removed(image[None], known[None], "linear", MEAN, 1, [4])[0]
    assert np.abs(filled.astype(float) - expected)[~known].max() < 5 * 2.55  # its noise


def test_the_noise_of_an_imputed_pixel_is_a_hundredth_of_the_range():
    flat = np.full((1, 64, 64, 1), 100, dtype=np.uint8)
    known = np.zeros((1, 64, 64), bool)
    known[:, ::8] = True
    filled = fill_removed(flat, known, "linear", (0.5,), 1, [0])[~known].astype(float)
    assert filled.mean() == pytest.approx(100, abs=0.2)
    assert filled.std() == pytest.approx(np.hypot(2.55, 12**-0.5), rel=0.03)  # and that of rounding


@pytest.mark.parametrize("level", [0, 255])
def test_the_noise_of_an_imputed_pixel_ends_where_the_range_does(level):
    flat, known = np.full((1, 16, 16, 1), level, dtype=np.uint8), np.zeros((1, 16, 16), bool)
    known[:, ::8] = True
    distance = np.abs(fill_removed(flat, known, "linear", (0.5,), 1, [0])[~known].astype(float) - level)
    assert distance.min() == 0
    assert distance.max() < 5 * 2.55


def test_an_image_without_a_kept_pixel_becomes_the_mean():
    assert (impute(IMAGES[0], np.zeros((8, 8), bool), MEAN) == 255 * np.array(MEAN)).all()


def test_blur_keeps_the_mean_brightness_and_loses_the_detail():
    blurred = fill_removed(IMAGES, np.zeros_like(KEPT), "blur", MEAN, seed=1, positions=[0, 1])
    assert abs(blurred.mean() - IMAGES.mean()) < 10
    assert blurred.std() < 0.5 * IMAGES.std()


def test_blur_is_by_a_tenth_of_the_side_and_goes_on_beyond_the_edge_as_the_edge_is():
    image = np.add.outer(10 * np.arange(20), 2 * np.arange(20)[::-1]).astype(np.uint8)
    blurred = fill_removed(image[None, ..., None], np.zeros((1, 20, 20), bool), "blur", (0.5,), 1, [0])
    steps = np.arange(-8, 9)  # four standard deviations of 2 pixels
    weights = np.exp(-(steps**2) / 8) / np.exp(-(steps**2) / 8).sum()
    for row, column in ((10, 9), (0, 19)):
        rows, columns = (np.clip(place + steps, 0, 19) for place in (row, column))
        expected = weights @ image[np.ix_(rows, columns)] @ weights
        assert expected - 2 < blurred[0, row, column, 0] <= expected  # cut to whole numbers twice


def test_blur_does_not_mix_images_or_channels():
    images = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    images[0, ..., 0] = 200
    blurred = fill_removed(images, np.zeros((2, 8, 8), bool), "blur", MEAN, seed=1, positions=[0, 1])
    assert np.array_equal(blurred, images)


@pytest.mark.parametrize("fill", ["black", "mean", "blur", "noise", "linear"])
def test_an_intact_mask_changes_nothing(fill):
    assert np.array_equal(fill_removed(IMAGES, np.ones_like(KEPT), fill, MEAN, seed=1, positions=[0, 1]), IMAGES)


def test_the_intact_mask_gives_the_training_split_as_it_is(dataset_path, dataset, tmp_path):
    write_intact_mask(dataset_path, tmp_path / "mask.h5")
    blocks = list(reduced_blocks(dataset, tmp_path / "mask.h5", Removal(), 1, np.arange(10)))
    images, labels = dataset.pick("train", range(10))
    assert np.array_equal(np.concatenate([pixels for _, pixels, _ in blocks]), images)
    assert np.array_equal(np.concatenate([some for _, _, some in blocks]), labels)


@pytest.mark.parametrize("fill", ["mean", "noise"])
def test_blocks_of_images_are_reduced_as_all_of_them_at_once(fill, dataset_path, dataset, monkeypatch, tmp_path):
    kept, carriers = np.random.default_rng(1).random((10, 16, 16)) < 0.5, np.roll(np.arange(10), 3)
    write_mask(tmp_path / "mask.h5", iter([kept]), (16, 16), {})
    monkeypatch.setattr(dataset_file, "BLOCK_PIXELS", 4 * 256)
    blocks = list(reduced_blocks(dataset, tmp_path / "mask.h5", Removal(fill), 3, carriers))
    assert [len(pixels) for _, pixels, _ in blocks] == [4, 4, 2]
    expected = fill_removed(dataset.pick("train", range(10))[0], kept[carriers], fill, dataset.mean, 3, range(10))
    assert np.array_equal(np.concatenate([pixels for _, pixels, _ in blocks]), expected)
