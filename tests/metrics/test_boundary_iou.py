import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from spatial_reduction.metrics.boundary_iou import (
    band_width,
    boundary_bands,
    boundary_counts,
    boundary_iou,
    measure_boundaries,
)
from spatial_reduction.metrics.overlap import ClassSets

PICTURES = arrays.arrays(np.uint8, (2, 9, 7), elements=st.integers(0, 2))


def square(side, first, last):
    """A picture of zeros with ones in rows and columns first..last."""
    picture = np.zeros((1, side, side), dtype=np.uint8)
    picture[0, first : last + 1, first : last + 1] = 1
    return picture


@pytest.mark.parametrize(("side", "width"), [(8, 1), (40, 1), (64, 2), (128, 4), (256, 7)])
def test_a_band_is_two_per_cent_of_the_diagonal_wide(side, width):
    assert band_width((side, side)) == width


@pytest.mark.parametrize("shape", [(30, 80), (80, 30)])
def test_the_bands_that_are_counted_are_as_wide_as_the_diagonal_of_an_image_says(shape):
    # 2 pixels are 2 % of 85; of the side of 30 alone they would be 1.
    everywhere = np.ones((1, *shape), dtype=np.uint8)
    assert boundary_counts(everywhere, everywhere, 2)[0, 1].tolist() == [30 * 80 - 26 * 76] * 2


def test_a_band_lies_inside_the_mask():
    band = boundary_bands(square(9, 2, 6).astype(bool), width=1)
    assert np.array_equal(band, (square(9, 2, 6) - square(9, 3, 5)).astype(bool))


def test_the_edge_of_the_image_is_an_outline():
    band = boundary_bands(np.ones((1, 6, 6), dtype=bool), width=2)
    assert np.array_equal(band, ~square(6, 2, 3).astype(bool))


@given(masks=arrays.arrays(bool, (2, 9, 7)), width=st.integers(1, 3))
def test_a_band_is_what_the_chessboard_distance_to_the_outside_says(masks, width):
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    distance = np.stack([ndimage.distance_transform_cdt(mask, metric="chessboard") for mask in padded])[:, 1:-1, 1:-1]
    assert np.array_equal(boundary_bands(masks, width), (distance > 0) & (distance <= width))


@given(labels=PICTURES, predictions=PICTURES)
def test_counts_are_of_bands_by_repeated_erosion(labels, predictions):
    counts = boundary_counts(labels, predictions, 3)
    square_3 = np.ones((3, 3))
    for image, (label, prediction) in enumerate(zip(labels, predictions, strict=True)):
        for index in range(3):
            masks = [label == index, prediction == index]
            true, found = [mask & ~ndimage.binary_erosion(mask, square_3, border_value=0) for mask in masks]
            assert counts[image, index].tolist() == [(true & found).sum(), (true | found).sum()]


def test_a_square_moved_by_one_pixel_counted_by_hand():
    # Two rings of 16 pixels, a step to the right apart: they share the two horizontal sides but for one pixel each (8).
    labels, predictions = square(9, 2, 6), np.roll(square(9, 2, 6), 1, axis=2)
    assert boundary_counts(labels, predictions, 2)[0, 1].tolist() == [8, 24]
    assert boundary_iou(boundary_counts(labels, predictions, 2))[0, 1] == pytest.approx(8 / 24)


def test_bands_are_as_wide_in_many_images_as_in_one():
    rng = np.random.default_rng(0)
    labels, predictions = (rng.integers(0, 2, (300, 16, 16)) for _ in range(2))
    one_by_one = [boundary_counts(labels[i : i + 1], predictions[i : i + 1], 2) for i in range(2)]
    assert np.array_equal(boundary_counts(labels, predictions, 2)[:2], np.concatenate(one_by_one))


def test_ignored_pixels_are_in_no_band():
    labels, predictions = square(9, 2, 6), np.ones((1, 9, 9), dtype=np.uint8)
    labels[labels == 0] = 255
    assert boundary_counts(labels, predictions, 2)[0].tolist() == [[0, 0], [16, 16]]


def test_rows_are_pooled_and_leave_absent_classes_out():
    counts = np.array([[[1, 2], [0, 0], [0, 3]], [[2, 2], [0, 0], [3, 3]]])
    groups, pooled = {"ab": ["a", "b"]}, counts.sum(axis=0)
    rows = measure_boundaries(pooled, ClassSets.of(["a", "b", "c"], groups, [], [0, 1, 2]))
    assert rows["boundary_iou", "a"] == pytest.approx(3 / 4)
    assert np.isnan(rows["boundary_iou", "b"])
    assert rows["mean_boundary_iou", "all"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert rows["mean_boundary_iou", "ab"] == pytest.approx(3 / 4)
    rows = measure_boundaries(pooled, ClassSets.of(["a", "b", "c"], groups, [], [0]))
    assert rows["mean_boundary_iou", "all"] == pytest.approx(3 / 4)  # the labels hold no c
