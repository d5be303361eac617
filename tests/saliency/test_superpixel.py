import math

import numpy as np
import pytest
from skimage.color import rgb2lab
from skimage.segmentation import slic

from spatial_reduction.saliency import superpixel
from spatial_reduction.saliency.superpixel import compare_colours, divide, refine, region_means, vote

QUARTERS = np.repeat(np.repeat([[0, 1], [2, 3]], 8, axis=0), 8, axis=1)


def test_a_superpixel_that_looks_like_the_foreground_scores_as_it_does():
    # Red top left is found; bottom right has the same colour, the others are blue.
    red, blue = [50, 60, 40], [30, 20, -60]
    lab = np.array([red, blue, blue, red], float)[QUARTERS]
    relevance = np.array([0.9, 0.1, 0.1, 0.1])[QUARTERS]
    scores = compare_colours(relevance, lab, QUARTERS)
    assert scores[0, 0] == scores[-1, -1] == pytest.approx(1)
    assert scores[0, -1] == scores[-1, 0] == pytest.approx(0)


def test_a_superpixel_that_looks_like_both_scores_by_the_difference_of_its_similarities():
    # A similarity halves at 10 sqrt(2 ln 2) units of colour, so these are powers of 2. Only the first is foreground.
    unit = 10 * math.sqrt(2 * math.log(2))
    lab = np.array([[50, place * unit, 0] for place in (0, 1, 2, 2)])[QUARTERS]
    scores = compare_colours(np.array([0.9, 0.1, 0.1, 0.1])[QUARTERS], lab, QUARTERS)
    # 1 - (1/2 + 1/16 + 1/16) / 3 = 38/48, 1/2 - (1 + 1/2 + 1/2) / 3 = -8/48, 1/16 - (1/2 + 1 + 1) / 3 = -37/48
    assert [scores[0, 0], scores[0, -1], scores[-1, -1]] == pytest.approx([1, 29 / 75, 0])
    scores = compare_colours(np.array([0.9, 0.9, 0.1, 0.1])[QUARTERS], lab, QUARTERS)
    # (1 + 1/2) / 2 - (1/16 + 1/16) / 2 = 22/32, (1/2 + 1) / 2 - 1/2 = 8/32, (1/16 + 1/2) / 2 - 1 = -23/32
    assert [scores[0, 0], scores[0, -1], scores[-1, -1]] == pytest.approx([1, 31 / 45, 0])


def test_a_picture_of_one_colour_keeps_the_means_of_its_map():
    relevance = np.array([0.9, 0.5, 0.1, 0.1])[QUARTERS]
    assert np.allclose(compare_colours(relevance, np.full((16, 16, 3), 40.0), QUARTERS), relevance)


def test_a_map_that_is_not_a_number_somewhere_is_one_nowhere():
    relevance = np.full((32, 32), 0.5)
    relevance[3, 4] = np.nan
    refined = refine(relevance, np.zeros((32, 32, 3)))
    assert (refined.shape, refined.dtype) == ((32, 32), np.float32)
    assert np.isnan(refined).all()


def test_region_means_are_means():
    assert region_means(np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[0, 0], [0, 1]])).tolist() == [2, 6]


def test_superpixels_are_numbered_without_gaps_and_shrink_in_number():
    lab = np.linspace(0, 100, 32 * 32 * 3).reshape(32, 32, 3)
    numbers = []
    for count in (32, 16, 8):
        segments = divide(lab, np.zeros((32, 32)), count)
        assert set(segments.flat) == set(range(segments.max() + 1))
        numbers.append(segments.max() + 1)
    assert numbers == sorted(set(numbers), reverse=True)


def test_superpixels_end_where_the_map_does_in_a_picture_of_one_colour():
    lab, relevance = np.full((32, 32, 3), 40.0), np.zeros((32, 32))
    relevance[:, 13:] = 1

    def mixed(values):
        shares = region_means(relevance, divide(lab, values, 16))
        return ((shares > 0) & (shares < 1)).sum()

    assert mixed(np.zeros((32, 32))) > 0
    assert mixed(relevance) == 0


def test_the_compactness_is_in_units_of_colour():
    # SLIC by its own standard, on the colours alone, is what a map without contrast leaves.
    image = np.random.default_rng(0).random((32, 32, 3)).repeat(4, 0).repeat(4, 1)[:64, :64]
    image[0, 0], image[0, 1] = 0, 1  # so that stretching the picture changes nothing
    expected = slic(image, n_segments=64, compactness=10, start_label=0, channel_axis=-1)
    found = divide(rgb2lab(image), np.zeros((64, 64)), 64)
    same = [found[expected == index] for index in range(expected.max() + 1)]
    assert np.mean([np.bincount(part).max() / len(part) for part in same]) > 0.99


def test_a_step_of_the_map_counts_as_half_the_way_from_black_to_white():
    relevance, flat = np.random.default_rng(0).random((8, 8)).repeat(4, 0).repeat(4, 1), np.zeros((32, 32))
    grey = np.stack([50 * relevance, flat, flat], axis=-1)
    assert np.array_equal(divide(np.zeros((32, 32, 3)), relevance, 32), divide(grey, flat, 32))


@pytest.mark.parametrize(
    ("shape", "expected"), [((192, 256), [1024, 512, 256]), ((12, 16), [6, 3, 1]), ((4, 4), [1, 1, 1])]
)
def test_an_image_has_so_many_superpixels_in_each_pass(shape, expected, monkeypatch):
    counts = []

    def divide_into_rows(lab, relevance, count):
        counts.append(count)
        return np.broadcast_to(np.arange(len(lab))[:, None], relevance.shape)

    monkeypatch.setattr(superpixel, "divide", divide_into_rows)
    rng = np.random.default_rng(0)
    refine(rng.random(shape), rng.random((*shape, 3)))
    assert counts == expected


def share(log_odds):
    return 1 / (1 + math.exp(-log_odds))


def test_the_maps_vote_by_hand():
    # The threshold of a map of two values lies between them. All find pixel 0, none finds pixel 2, two find pixel 1.
    maps = np.array([[[0.8, 0.8, 0.2]], [[0.8, 0.8, 0.2]], [[0.8, 0.2, 0.2]]])
    odds, steps = math.log(0.8 / 0.2), 0.15 * 5
    # Pixel 1 of the last map rises by two votes a step and is above its threshold from the first step on. In the others
    # its vote against and the one for it cancel out in that step; then both are for it.
    others, last = odds + 2 * 0.15 * 4, -odds + 2 * steps
    expected = [share(odds + 2 * steps), (2 * share(others) + share(last)) / 3, share(-odds - 2 * steps)]
    assert vote(maps)[0] == pytest.approx(expected)


def test_a_flat_map_follows_the_others():
    maps = np.stack([np.full((1, 2), 0.5), np.array([[0.2, 0.8]])])
    odds = math.log(0.8 / 0.2)
    found = (share(odds + 4 * 0.15) + share(5 * 0.15)) / 2  # it has no vote in the first step
    assert vote(maps)[0] == pytest.approx([1 - found, found])
    maps[0] = 1  # its odds are cut to those of 254 in 255, its threshold as well: it abstains in the first step, too
    top = math.log(254)
    assert vote(maps)[0] == pytest.approx(
        [
            (share(top - 5 * 0.15) + share(-odds - 4 * 0.15)) / 2,
            (share(top + 5 * 0.15) + share(odds + 4 * 0.15)) / 2,
        ]
    )


def test_refining_fills_an_object_that_the_prediction_found_half_of():
    image, relevance = np.full((32, 32, 3), 0.2), np.full((32, 32), 0.05)
    image[8:24, 8:24] = [0.9, 0.5, 0.1]
    relevance[8:24, 8:16] = 0.9
    scores = refine(relevance, image)
    inside = np.zeros((32, 32), bool)
    inside[9:23, 9:23] = True
    outside = np.ones((32, 32), bool)
    outside[7:25, 7:25] = False
    assert scores[inside].min() > 0.8
    assert scores[outside].max() < 0.2


def test_refining_takes_three_passes_over_ever_larger_superpixels():
    rng = np.random.default_rng(0)
    image, relevance = rng.random((8, 8, 3)).repeat(8, 0).repeat(8, 1), rng.random((16, 16)).repeat(4, 0).repeat(4, 1)
    lab, current, maps = rgb2lab(image), relevance, []
    finest = divide(lab, relevance, 128)  # 64 x 64 pixels, 32 each
    for count in (128, 64, 32):
        current = compare_colours(current, lab, divide(lab, current, count))
        maps.append(current)
    first, voted = (region_means(values, finest) for values in (relevance, vote(np.stack(maps))))
    assert np.allclose(refine(relevance, image), np.maximum(first, voted)[finest])


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_refining_a_flat_image_keeps_the_means_of_the_map(level):
    assert np.allclose(refine(np.full((16, 16), level), np.full((16, 16, 3), 0.5)), level, atol=1 / 255)
