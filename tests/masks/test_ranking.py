from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from spatial_reduction.masks.ranking import Schedule, kept_count, shrink_mask
from spatial_reduction.runtime.errors import InputError

SCORES = st.floats(width=32, allow_nan=False)  # infinities and ties included


def test_top_90_percent_keeps_90_percent():
    assert kept_count(16_384, 90) == 14_746
    assert kept_count(14_746, 90) == 13_272


def test_counts_are_exact_where_floating_point_is_not():
    assert int(10 * (1 - 0.9)) == 0  # so a naive rule would remove nothing
    assert kept_count(10, 90) == 9
    assert kept_count(1000, "99.9") == 999


@given(pixels=st.integers(1, 10**6), threshold=st.decimals("0.01", 100, places=2))
def test_the_kept_count_follows_its_definition_and_is_never_empty(pixels, threshold):
    removed = pixels * (100 - Fraction(threshold)) // 100
    assert kept_count(pixels, str(threshold)) == pixels - removed
    assert 1 <= kept_count(pixels, str(threshold)) <= pixels


def counts(schedule, step, threshold, iterations, pixels):
    """The pixels that iterations 1..K keep."""
    return [Schedule(schedule, step, threshold).count(pixels, k) for k in range(1, iterations + 1)]


def test_compounding_keeps_a_share_of_what_was_left():
    assert counts("compounding", 0, "90", 4, 16_384) == [16_384, 14_746, 13_272, 11_945]
    assert counts("compounding", 0, "50", 4, 1000) == [1000, 500, 250, 125]


def test_constant_keeps_the_same_share_from_the_second_iteration_on():
    assert counts("constant", 0, "90", 4, 1000) == [1000, 900, 900, 900]


def test_additive_walks_by_its_step_and_stops_at_all_pixels():
    assert counts("additive", 5, "90", 7, 16_384) == [16_384, 14_746, 15_565, 16_384, 16_384, 16_384, 16_384]
    assert counts("additive", -10, "90", 4, 1000) == [1000, 900, 800, 700]


@given(
    threshold=st.integers(1, 100), step=st.integers(-20, 0), iterations=st.integers(1, 8), pixels=st.integers(100, 5000)
)
def test_without_a_positive_step_the_kept_share_never_grows(threshold, step, iterations, pixels):
    for schedule in ("compounding", "constant", "additive"):
        if schedule == "additive" and threshold + step * (iterations - 2) <= 0:
            continue  # refused by the configuration
        kept = counts(schedule, step, str(threshold), iterations, pixels)
        assert kept == sorted(kept, reverse=True)
        assert kept[0] == pixels


def test_the_highest_scores_are_kept():
    kept = np.ones((1, 5), dtype=bool)
    scores = np.array([[0.1, 0.9, 0.5, 0.7, 0.3]], dtype=np.float32)
    assert shrink_mask(kept, scores, 2).tolist() == [[False, True, False, True, False]]


def test_ties_are_kept_in_order_of_pixel_index():
    kept = np.ones((1, 6), dtype=bool)
    scores = np.array([[1, 2, 1, 1, 2, 1]], dtype=np.float32)
    assert np.flatnonzero(shrink_mask(kept, scores, 4)).tolist() == [0, 1, 2, 4]


def test_a_removed_pixel_never_returns_however_high_its_score():
    kept = np.array([[False, True, True]])
    scores = np.array([[9, 1, 2]], dtype=np.float32)
    assert shrink_mask(kept, scores, 1).tolist() == [[False, False, True]]


def test_infinite_scores_are_ranked():
    kept = np.ones((1, 4), dtype=bool)
    scores = np.array([[np.inf, -np.inf, 0, np.inf]], dtype=np.float32)
    assert np.flatnonzero(shrink_mask(kept, scores, 3)).tolist() == [0, 2, 3]


def test_a_score_that_is_not_a_number_is_refused():
    with pytest.raises(InputError, match="not a number"):
        shrink_mask(np.ones((1, 2), dtype=bool), np.array([[np.nan, 1]], dtype=np.float32), 1)


def test_more_pixels_than_there_are_cannot_be_kept():
    with pytest.raises(ValueError, match="cannot keep 3 of"):
        shrink_mask(np.ones((1, 2), dtype=bool), np.zeros((1, 2), dtype=np.float32), 3)


def test_images_that_keep_different_numbers_are_refused():
    with pytest.raises(ValueError, match=r"cannot keep 1 of \[2, 3\] pixels"):
        shrink_mask(np.array([[True, True, True], [True, False, True]]), np.zeros((2, 3), dtype=np.float32), 1)


@given(data=st.data(), pixels=st.integers(1, 40), images=st.integers(1, 4))
def test_any_scores_give_the_exact_count_nested_and_right(data, pixels, images):
    scores = data.draw(arrays.arrays(np.float32, (images, pixels), elements=SCORES))
    before = data.draw(st.integers(1, pixels))
    count = data.draw(st.integers(0, before))
    order = data.draw(st.permutations(range(pixels)))
    kept = np.zeros((images, pixels), dtype=bool)
    kept[:, list(order)[:before]] = True
    shrunk = shrink_mask(kept, scores, count)
    assert (shrunk.sum(axis=1) == count).all()
    assert not (shrunk & ~kept).any()
    assert np.array_equal(shrunk, shrink_mask(kept, scores, count))
    for row in range(images):  # a stable sort by falling score is the second implementation
        candidates = np.flatnonzero(kept[row])
        ranked = sorted(candidates, key=lambda pixel: -scores[row, pixel])
        assert sorted(ranked[:count]) == np.flatnonzero(shrunk[row]).tolist()
