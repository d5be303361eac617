import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.ndimage import binary_dilation, distance_transform_edt, zoom
from scipy.stats import entropy
from skimage.measure import label
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import pair_confusion_matrix

from spatial_reduction.metrics.objects import (
    OBJECT_MEASURES,
    find_objects,
    information,
    match_counts,
    object_counts,
    rand_error,
    thin_borders,
)
from spatial_reduction.metrics.overlap import ratio
from spatial_reduction.metrics.warping_error import warping_differences

PARTITIONS = npst.arrays(np.int64, st.just((6, 7)), elements=st.integers(0, 4))


def told_apart(found):
    """Give every pixel of no object a number of its own."""
    own = found.copy()
    own[found == 0] = 100 + np.arange((found == 0).sum())
    return own


def count(labels, predictions, instances=None, connectivity=1, minimum_size=1):
    """Counts of one image by name; class 1 is the class of the objects."""
    some = None if instances is None else np.asarray(instances)[None]
    arguments = [np.asarray(each, dtype=np.uint8)[None] for each in (labels, predictions)]
    counts = object_counts(*arguments, some, 1, connectivity, minimum_size)
    return dict(zip(OBJECT_MEASURES, counts[0].tolist(), strict=True))


@given(mask=npst.arrays(bool, st.just((8, 9))), connectivity=st.sampled_from([1, 2]), size=st.integers(1, 5))
@settings(max_examples=25)
def test_objects_are_the_large_connected_components(mask, connectivity, size):
    found, components = find_objects(mask, connectivity, size), label(mask, connectivity=connectivity)
    large = [number for number in range(1, components.max() + 1) if (components == number).sum() >= size]
    assert np.array_equal(found > 0, np.isin(components, large))
    assert sorted(set(found[found > 0])) == list(range(1, len(large) + 1))
    assert all(len(set(found[components == number])) == 1 for number in large)


@given(true=PARTITIONS, found=PARTITIONS)
@settings(max_examples=25)
def test_rand_error_is_one_minus_the_f_score_of_pairs(true, found):
    inside = true > 0
    if not inside.any():
        assert np.isnan(rand_error(true, found))
        return
    (_, only_found), (only_true, both) = pair_confusion_matrix(true[inside], told_apart(found)[inside])
    pairs = 2 * both + only_found + only_true
    assert rand_error(true, found) == pytest.approx(1 - 2 * both / pairs if pairs else np.nan, nan_ok=True)


@given(true=PARTITIONS, found=PARTITIONS)
@settings(max_examples=25)
def test_information_is_what_each_side_does_not_tell_of_the_other(true, found):
    inside, found_apart = true > 0, told_apart(found)
    if not inside.any():
        assert np.isnan(information(true, found)).all()
        return
    shared = mutual_info_score(true[inside], found_apart[inside]) / np.log(2)
    alone = [entropy(np.unique(side[inside], return_counts=True)[1], base=2) - shared for side in (found_apart, true)]
    assert information(true, found) == pytest.approx(alone, abs=1e-9)


def test_a_split_and_a_merge_are_told_apart_by_hand():
    whole, halves = np.ones((4, 4), dtype=int), np.repeat([[1, 1, 2, 2]], 4, axis=0)
    assert information(whole, halves) == pytest.approx((1, 0))  # one bit says in which half a pixel is
    assert information(halves, whole) == pytest.approx((0, 1))
    # 2 x 56 ordered pairs of 8 pixels in both; 240 of 16 pixels in one of them: F = 2 x 112 / (112 + 240).
    assert rand_error(whole, halves) == rand_error(halves, whole) == pytest.approx(1 - 224 / 352)


def test_to_find_nothing_is_as_wrong_as_can_be():
    true = np.array([[1, 1, 1, 1, 0]])
    assert rand_error(true, np.zeros_like(true)) == 1
    assert information(true, np.zeros_like(true)) == pytest.approx((2, 0))  # which of four pixels: two bits


def test_pixels_of_no_true_object_are_left_out():
    true, found = np.array([[1, 1, 0, 2, 2]]), np.array([[1, 1, 1, 2, 2]])
    assert rand_error(true, found) == 0
    assert information(true, found) == (0, 0)


def test_single_pixels_have_no_pairs():
    assert np.isnan(rand_error(np.array([[1, 2]]), np.array([[1, 2]])))
    assert rand_error(np.array([[1, 1]]), np.array([[1, 2]])) == 1


@given(
    mask=npst.arrays(bool, st.just((9, 10))),
    valid=npst.arrays(bool, st.just((9, 10))),
    near=st.sampled_from([1, 2]),
)
@settings(max_examples=25)
def test_thinning_grows_the_objects_until_a_line_parts_them(mask, valid, near):
    found = find_objects(mask & valid, near, 1)
    thinned = thin_borders(found, valid, near)
    assert np.array_equal(thinned[found > 0], found[found > 0])
    assert not thinned[~valid].any()
    assert len(set(thinned[thinned > 0])) == found.max()
    # Pixels that hang together are of one object: lines part the objects, in the sense of the connectivity.
    components = label(thinned > 0, connectivity=near)
    assert all(len(set(thinned[components == part])) == 1 for part in range(1, components.max() + 1))


def cells(thicker, side=48, pitch=12):
    """Cells parted by a grid of lines of one pixel, and by lines that are thicker by some pixels on each side."""
    is_line = np.zeros((side, side), bool)
    is_line[pitch - 1 :: pitch] = is_line[:, pitch - 1 :: pitch] = True
    return np.where(is_line, 0, 1), np.where(binary_dilation(is_line, np.ones((3, 3)), iterations=thicker), 0, 1)


@pytest.mark.parametrize("thicker", [1, 2, 3])
def test_thick_membranes_cost_nothing_after_thinning(thicker):
    counts = count(*cells(thicker))
    # Of 9 to 11 pixels a side of each true cell, 2 times `thicker` are lost, each pixel to an object of its own.
    assert counts["rand_error"][0] > 0.1 * thicker
    assert counts["variation_of_information"][0] > 1.5 * thicker
    assert counts["rand_error_thinned"] == [0, 1]
    assert counts["variation_of_information_thinned"] == pytest.approx([0, 1], abs=1e-12)


def test_thinning_mends_no_merger():
    labels, predictions = cells(1)
    predictions[4:8] = 1  # a passage through the first row of cells
    counts = count(labels, predictions)
    merged = label(labels, connectivity=1)
    merged[:11][labels[:11] > 0] = 1
    expected = rand_error(label(labels, connectivity=1), merged)
    assert counts["rand_error_thinned"][0] == pytest.approx(expected, abs=0.01)
    assert expected > 0.2


@pytest.mark.parametrize("near", [1, 2])
def test_thinning_gives_each_pixel_to_the_nearest_object(near):
    found = np.zeros((24, 31), int)
    found[2:5, 3:6], found[14:20, 8:10], found[6:8, 22:29] = 1, 2, 3
    thinned = thin_borders(found, np.ones(found.shape, bool), near)
    distances = np.stack([distance_transform_edt(found != number) for number in (1, 2, 3)])
    own = np.take_along_axis(distances, np.maximum(thinned - 1, 0)[None], axis=0)[0]
    assert (own - distances.min(axis=0))[thinned > 0].max() < 1


def test_thinning_finds_nothing_where_nothing_was_found():
    empty = np.zeros((5, 5), int)
    assert not thin_borders(empty, np.ones((5, 5), bool), 1).any()


@given(true=PARTITIONS, found=PARTITIONS)
@settings(max_examples=25)
def test_matches_are_those_of_a_search_over_all_pairs(true, found):
    ids_true, ids_found = (sorted(set(each[each > 0])) for each in (true, found))
    seg, matched = 0.0, np.zeros(10)
    for first in ids_true:
        for second in ids_found:
            shared, union = ((true == first) & (found == second)).sum(), ((true == first) | (found == second)).sum()
            seg += shared / union if shared > (true == first).sum() / 2 else 0
            matched += [shared / union > percent / 100 for percent in range(50, 100, 5)]
    total = len(ids_true) + len(ids_found)
    expected = [(seg, len(ids_true)), (2 * matched[0], total), (0.2 * matched.sum(), total)]
    assert match_counts(true, found) == pytest.approx(np.array(expected))


def test_matches_by_hand():
    true = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2]])
    found = np.array([[3, 3, 3, 0, 0, 0, 0, 5, 5]])
    # 3 of 4 pixels are covered; 2 of 4 are not more than half. One match of two objects on either side.
    assert match_counts(true, found).tolist() == [[0.75, 2], [2, 4], [2 * 0.5, 4]]  # .75 is above .5, .55, .. .7


def test_a_perfect_prediction_has_no_error_and_full_score():
    labels = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [255, 0, 0, 1]])
    found = count(labels, np.where(labels == 255, 1, labels))
    errors = {name: found[name][0] for name in OBJECT_MEASURES[:8]}
    assert errors == dict.fromkeys(OBJECT_MEASURES[:8], 0)
    assert found["warping_error"][1] == found["pixel_error"][1] == 11
    assert {name: found[name] for name in OBJECT_MEASURES[8:]} == {
        "seg": [2, 2],
        "object_f1": [4, 4],
        "mean_object_f1": [4, 4],
    }


def test_a_merger_by_hand():
    labels = np.repeat([[1, 1, 1, 0, 1, 1, 1]], 5, axis=0)
    predictions = np.ones_like(labels)
    found = count(labels, predictions)
    assert found["warping_error"] == found["pixel_error"] == [5, 35]
    assert found["vi_merge"] == pytest.approx([1, 1])  # of two objects of 15 pixels
    assert found["vi_split"] == pytest.approx([0, 1], abs=1e-12)
    assert found["variation_of_information"] == pytest.approx([1, 1])
    # Ordered pairs of pixels of true objects: 2 x 210 in both, 870 in the one found object.
    assert found["rand_error"] == pytest.approx([1 - 840 / (420 + 870), 1])
    assert found["seg"] == pytest.approx([2 * 15 / 35, 2])
    assert found["object_f1"] == [0, 3]


@pytest.mark.parametrize("turn", [np.asarray, np.transpose], ids=["beside", "below"])
def test_instances_that_touch_are_objects_apart(turn):
    instances = turn(np.repeat([[7, 7, 7, 9, 9, 9]], 4, axis=0))
    labels = np.ones_like(instances)
    divided = turn(np.repeat([[1, 1, 0, 1, 1, 1]], 4, axis=0))
    right, merged = count(labels, divided, instances), count(labels, labels, instances)
    assert right["warping_error"] == [0, 24]  # they are set apart by the last column or row of the first
    assert merged["warping_error"] == [4, 24]
    assert right["seg"] == pytest.approx([8 / 12 + 1, 2])
    assert merged["seg"] == [1, 2]  # 12 of 24 each
    assert merged["vi_merge"] == pytest.approx([1, 1])


def test_small_components_are_no_objects_neither_found_nor_true():
    labels = np.array([[1, 1, 1, 0, 0, 1]])
    predictions = np.array([[1, 1, 1, 0, 0, 1]])
    assert count(labels, predictions, minimum_size=2)["object_f1"] == [2, 2]
    assert count(labels, predictions, [[1, 1, 1, 0, 0, 2]], minimum_size=2)["object_f1"] == [2, 2]


@pytest.mark.parametrize("between", [2, 255], ids=["border", "ignored"])
def test_a_perfect_prediction_is_perfect_though_other_labels_part_the_instances(between):
    instances = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0, 3], [1, 1, 1, 1, 2, 2, 2, 2, 0, 0]])
    labels = (instances > 0).astype(np.uint8)
    labels[:, 3:5] = between  # between the two that touch
    labels[:, 6] = between  # across the second one
    counts = count(labels, np.where(labels == 255, 0, labels), instances)
    assert counts["seg"] == [4, 4]
    assert counts["object_f1"] == [8, 8]
    assert [counts[name][0] for name in ("rand_error", "variation_of_information", "warping_error")] == [0, 0, 0]


def test_connectivity_joins_at_corners():
    labels = np.array([[1, 0], [0, 1]])
    assert count(labels, labels, connectivity=1)["object_f1"] == [4, 4]
    assert count(labels, labels, connectivity=2)["object_f1"] == [2, 2]


def test_images_are_counted_as_if_each_were_alone():
    rng = np.random.default_rng(0)
    instances = rng.integers(1, 4, (3, 9, 12))
    labels, predictions = (rng.choice([0, 1, 1, 1, 2, 255], (3, 9, 12)).astype(np.uint8) for _ in range(2))
    for objects in (None, instances):
        alone = [
            object_counts(labels[[i]], predictions[[i]], None if objects is None else objects[[i]], 1, 2, 2)[0]
            for i in range(3)
        ]
        assert np.array_equal(object_counts(labels, predictions, objects, 1, 2, 2), alone)
        assert len({each.tobytes() for each in alone}) == 3


def test_what_is_thinned_is_parted_in_the_sense_of_the_objects_connectivity():
    rng = np.random.default_rng(1)
    labels, predictions = ((zoom(rng.random((6, 7)), 4, order=1) > 0.5).astype(np.uint8) for _ in range(2))
    labels[6:9, 4:], labels[:, 15:18] = 255, 255  # nothing grows over them
    valid = labels != 255
    for near, size in ((1, 3), (2, 1)):
        true, found = (find_objects((each == 1) & valid, near, size) for each in (labels, predictions))
        thinned, other = (thin_borders(found, valid, each) for each in (near, 3 - near))
        counts = count(labels, predictions, connectivity=near, minimum_size=size)
        assert counts["rand_error_thinned"] == [rand_error(true, thinned), 1]
        assert counts["variation_of_information_thinned"] == [sum(information(true, thinned)), 1]
        over_all = thin_borders(found, np.ones_like(valid), near)
        assert len({rand_error(true, each) for each in (thinned, other, over_all)}) == 3


def pooled(counts):
    """Return {measure: value} of a set of images, from their counts (N, M, 2)."""
    return {name: ratio(*counts[:, index].sum(axis=0)) for index, name in enumerate(OBJECT_MEASURES)}


def test_an_image_without_true_objects_adds_nothing_to_means_over_images():
    labels = np.zeros((2, 4, 4), dtype=np.uint8)
    labels[0, :2] = 1
    predictions = labels.copy()
    predictions[1, 1:3, 1:3] = 1
    counts = object_counts(labels, predictions, None, 1, 1, 1)
    rows = pooled(counts)
    assert rows["rand_error"] == rows["variation_of_information"] == 0
    assert (rows["seg"], rows["object_f1"]) == (1, 2 / 3)
    assert rows["pixel_error"] == rows["warping_error"] == 4 / 32


def test_without_any_object_what_needs_one_is_not_defined():
    empty = np.zeros((1, 4, 4), dtype=np.uint8)
    rows = pooled(object_counts(empty, empty, None, 1, 1, 1))
    assert {name for name, value in rows.items() if np.isnan(value)} == set(OBJECT_MEASURES) - {
        "warping_error",
        "pixel_error",
    }


def test_the_warping_error_is_of_objects_against_the_rest():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 3, (2, 10, 10))
    found = count(labels, predictions)
    assert found["warping_error"][0] == warping_differences(labels == 1, predictions == 1)
    assert found["pixel_error"][0] == (labels != predictions).sum()
