from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from spatial_reduction.metrics.warping_error import RING, SIMPLE, warp, warping_differences

CORNERS, EDGES = np.ones((3, 3)), ndimage.generate_binary_structure(2, 1)
PICTURES = npst.arrays(bool, st.just((9, 11)))


def topology(image):
    """Number of 4-connected objects, and of 8-connected pieces of what is outside of them."""
    padded = np.pad(image, 1)
    return ndimage.label(padded, EDGES)[1], ndimage.label(~padded, CORNERS)[1]


def two_objects(membrane=10):
    """Two objects of 15 rows on a frame of background, with a membrane one pixel wide between them."""
    image = np.zeros((17, 21), dtype=bool)
    image[1:16, 1:20] = True
    image[:, membrane] = False
    return image


def touches_in_one_piece(code):
    """Whether the foreground that touches the middle by an edge is one piece, and all that is not foreground, too."""
    patch = np.zeros((3, 3), dtype=bool)
    for bit, (row, column) in enumerate(RING):
        patch[1 + row, 1 + column] = code >> bit & 1
    objects, _ = ndimage.label(patch, EDGES)
    background = ~patch
    background[1, 1] = False
    return len(set(objects[EDGES]) - {0}) == 1 and ndimage.label(background, CORNERS)[1] == 1


def test_the_table_of_simple_points_is_that_of_counted_pieces():
    assert SIMPLE.tolist() == [touches_in_one_piece(code) for code in range(256)]


def test_neighbours_stand_in_a_ring():
    steps = [abs(a - c) + abs(b - d) for (a, b), (c, d) in pairwise([*RING, RING[0]])]
    assert steps == [1] * 8
    assert len(set(RING)) == 8


@given(image=PICTURES)
@settings(max_examples=20)
def test_what_is_found_as_it_is_has_no_error(image):
    assert warping_differences(image, image) == 0


@given(truth=PICTURES, found=PICTURES, reach=st.integers(0, 4))
@settings(max_examples=50)
def test_warping_keeps_the_topology_and_ends_where_nothing_can_be_flipped(truth, found, reach):
    warped = warp(truth, found, reach)
    assert topology(warped) == topology(truth)
    assert ((warped == truth) | (warped == found)).all()
    padded = np.pad(truth, 1)
    inside, outside = ndimage.distance_transform_edt(padded), ndimage.distance_transform_edt(~padded)
    is_near = (np.maximum(inside, outside) <= reach)[1:-1, 1:-1]
    assert not ((warped != truth) & ~is_near).any()
    for row, column in np.argwhere((warped != found) & is_near):
        around = np.pad(warped, 1)[row : row + 3, column : column + 3]
        assert not SIMPLE[sum(int(around[1 + r, 1 + c]) << bit for bit, (r, c) in enumerate(RING))]


def test_a_border_that_moves_is_no_error():
    assert warping_differences(two_objects(10), two_objects(11)) == 0
    thick = two_objects(10) & two_objects(11) & two_objects(12)
    assert warping_differences(thick, two_objects(12)) == 0
    grown = np.pad(two_objects(), 5)
    for _ in range(4):
        grown = ndimage.binary_dilation(grown)
    grown[:, 15] = False
    assert warping_differences(np.pad(two_objects(), 5), grown) == 0


def test_a_thin_membrane_moves_by_its_width_alone():
    # Between its old and its new place nothing differs, so no flip there would lower the disagreement: it cannot pass.
    # The new one is dug from both ends up to the last pixel, which would divide the object; the old one stays.
    assert warping_differences(two_objects(10), two_objects(12)) == 15 + 1


def test_a_border_may_move_as_far_as_the_reach():
    truth, found = np.zeros((2, 12, 12), dtype=bool)
    truth[4:8, 1:11], found[4:11, 1:11] = True, True
    assert warping_differences(truth, found, reach=3) == 0
    assert warping_differences(truth, found, reach=2) == 10


def test_a_border_may_move_by_five_pixels_unless_another_reach_is_named():
    truth, five, six = np.zeros((3, 16, 12), dtype=bool)
    truth[2:5, 1:11], five[2:10, 1:11], six[2:11, 1:11] = True, True, True
    assert warping_differences(truth, five) == 0
    assert warping_differences(truth, six) == 10


def test_a_hole_in_a_membrane_costs_its_pixels():
    found = two_objects()
    found[5:8, 10] = True
    assert warping_differences(two_objects(), found) == 3


def test_a_membrane_that_is_not_found_costs_its_length():
    found = two_objects()
    found[1:16, 10] = True
    assert warping_differences(two_objects(), found) == 15


def test_a_gap_that_divides_an_object_costs_the_pixel_that_holds_it_together():
    truth = np.zeros((11, 11), dtype=bool)
    truth[2:9, 2:9] = True
    found = truth.copy()
    found[:, 5] = False
    assert warping_differences(truth, found) == 1


def test_a_hole_in_an_object_and_an_object_from_nothing_cost_their_pixels():
    truth = np.zeros((12, 12), dtype=bool)
    truth[3:9, 3:9] = True
    hole, object_ = truth.copy(), truth.copy()
    hole[5:7, 5:7] = False
    object_[0, 0:3] = True
    assert warping_differences(truth, hole) == 4
    assert warping_differences(truth, object_) == 3


def test_an_object_that_is_not_found_shrinks_to_a_pixel():
    truth = np.zeros((9, 9), dtype=bool)
    truth[3:7, 3:7] = True
    assert warping_differences(truth, np.zeros_like(truth)) == 1


def test_objects_that_touch_at_a_corner_are_two():
    truth = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], dtype=bool)
    joined = truth.copy()
    joined[1, 2] = True
    assert topology(truth) == (2, 1)
    assert warping_differences(truth, joined) == 1
