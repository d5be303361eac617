import numpy as np
import pytest

import second_implementation as second
from spatial_reduction.evaluation.backgrounds import (
    blur_background,
    complete_background,
    donor_positions,
    soften_background,
)


def scene(foreground, background):
    """A square of one grey on another, uint8 (12, 12, 1), and its background."""
    is_background = np.ones((12, 12), dtype=bool)
    is_background[4:8, 3:7] = False
    return np.where(is_background, background, foreground).astype(np.uint8)[..., None], is_background


@pytest.mark.parametrize("images", [2, 3, 50])
def test_every_image_lends_its_background_once_and_never_to_itself(images):
    donors = donor_positions(images)
    assert sorted(donors) == list(range(images))
    assert (donors != np.arange(images)).all()
    assert np.array_equal(donors, donor_positions(images))


def test_a_uniform_background_stays_what_it_is_and_fills_the_hole():
    image, is_background = scene(foreground=250, background=40)
    assert (complete_background(image, is_background) == 40).all()
    assert np.array_equal(soften_background(image, is_background), image)


def test_nothing_of_the_foreground_spreads():
    dark, is_background = scene(foreground=0, background=90)
    light, _ = scene(foreground=255, background=90)
    dark[0, :, 0] = light[0, :, 0] = np.arange(12) * 20
    assert np.array_equal(blur_background(dark, is_background), blur_background(light, is_background))


def test_the_blur_is_the_weighted_mean_of_background_pixels():
    rng = np.random.default_rng(0)
    image, is_background = rng.integers(0, 256, (12, 12, 3)).astype(np.uint8), rng.random((12, 12)) < 0.7
    rows, columns = np.indices((12, 12))
    distance = (rows - 5) ** 2 + (columns - 6) ** 2
    weights = np.exp(-distance / (2 * 1.2**2)) / (2 * np.pi * 1.2**2) * is_background
    mean = image[is_background].mean(axis=0)
    expected = ((weights[..., None] * image).sum(axis=(0, 1)) + 1e-3 * mean) / (weights.sum() + 1e-3)
    assert blur_background(image, is_background)[5, 6] == pytest.approx(expected, abs=1.5)


@pytest.mark.parametrize("side", [1, 2])
def test_far_from_any_background_its_mean_remains(side):
    image, is_background = np.full((100, 100, 1), 200, dtype=np.uint8), np.zeros((100, 100), dtype=bool)
    image[:side, :side], is_background[:side, :side] = 60, True
    assert blur_background(image, is_background)[99, 99] == 60


def test_the_blurred_background_is_to_the_byte_that_of_the_second_implementation():
    rng = np.random.default_rng(0)
    image, is_background = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8), rng.random((20, 20)) < 0.1
    is_background[:, 12:] = False  # far from any background, where its mean begins to tell
    assert np.array_equal(blur_background(image, is_background), second.spread_background(image, is_background))


def test_without_a_background_there_is_black():
    image = np.full((12, 12, 3), 99, dtype=np.uint8)
    assert not blur_background(image, np.zeros((12, 12), dtype=bool)).any()
