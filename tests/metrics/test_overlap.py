import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score
from torchmetrics.functional.segmentation import mean_iou

from spatial_reduction.metrics.overlap import (
    confusion_matrices,
    dice,
    iou,
    labelled_classes,
    mean_over_classes,
    measure_all,
    merge_foreground,
    pixel_accuracy,
)

PICTURES = arrays.arrays(np.uint8, (3, 4, 4), elements=st.integers(0, 2))


def test_a_case_counted_by_hand():
    labels = np.array([[[0, 0, 1, 1]]], dtype=np.uint8)
    predictions = np.array([[[0, 1, 1, 1]]], dtype=np.uint8)
    confusion = confusion_matrices(labels, predictions, 2)
    assert confusion.tolist() == [[[1, 1], [0, 2]]]
    assert iou(confusion)[0] == pytest.approx([1 / 2, 2 / 3])
    assert dice(confusion)[0] == pytest.approx([2 / 3, 4 / 5])
    assert pixel_accuracy(confusion)[0] == pytest.approx(3 / 4)


def test_ignored_pixels_do_not_count():
    labels = np.array([[[0, 255, 1]]], dtype=np.uint8)
    predictions = np.array([[[0, 1, 1]]], dtype=np.uint8)
    assert confusion_matrices(labels, predictions, 2).tolist() == [[[1, 0], [0, 1]]]


@given(labels=PICTURES, predictions=PICTURES)
def test_pooled_values_agree_with_scikit_learn(labels, predictions):
    confusion = confusion_matrices(labels, predictions, 3).sum(axis=0)
    true, predicted = labels.reshape(-1), predictions.reshape(-1)
    assert np.array_equal(confusion, confusion_matrix(true, predicted, labels=[0, 1, 2]))
    present = np.isin([0, 1, 2], [*true, *predicted])
    ours_iou, ours_dice = iou(confusion), dice(confusion)
    assert np.array_equal(np.isnan(ours_iou), ~present)
    theirs = {"labels": [0, 1, 2], "average": None, "zero_division": 0}
    assert ours_iou[present] == pytest.approx(jaccard_score(true, predicted, **theirs)[present])
    assert ours_dice[present] == pytest.approx(f1_score(true, predicted, **theirs)[present])
    assert pixel_accuracy(confusion) == pytest.approx(accuracy_score(true, predicted))


@given(labels=PICTURES, predictions=PICTURES)
def test_values_of_each_image_agree_with_torchmetrics(labels, predictions):
    ours = iou(confusion_matrices(labels, predictions, 3))
    theirs = mean_iou(
        torch.from_numpy(predictions).long(),
        torch.from_numpy(labels).long(),
        num_classes=3,
        per_class=True,
        input_format="index",
    ).numpy()
    present = ~np.isnan(ours)  # torchmetrics marks an absent class by -1 or by 0, depending on its version
    assert ours[present] == pytest.approx(theirs[present], abs=1e-6)


@given(labels=PICTURES, predictions=PICTURES)
def test_dice_and_iou_are_bounded_and_one_determines_the_other(labels, predictions):
    confusion = confusion_matrices(labels, predictions, 3)
    values, dices = iou(confusion), dice(confusion)
    present = ~np.isnan(values)
    assert ((values[present] >= 0) & (values[present] <= 1)).all()
    assert dices[present] == pytest.approx(2 * values[present] / (1 + values[present]))


@given(labels=PICTURES, predictions=PICTURES, order=st.permutations(range(3)))
def test_measures_do_not_depend_on_the_order_of_images(labels, predictions, order):
    def rows(some_labels, some_predictions):
        confusion = confusion_matrices(some_labels, some_predictions, 3)
        return measure_all(confusion, ["a", "b", "c"], {"two": ["a", "b"]}, ["b", "c"])

    straight, permuted = rows(labels, predictions), rows(labels[list(order)], predictions[list(order)])
    assert [row[:2] for row in straight] == [row[:2] for row in permuted]
    assert [row[2] for row in straight] == pytest.approx([row[2] for row in permuted], nan_ok=True)


@given(labels=PICTURES)
def test_a_perfect_prediction_scores_one_everywhere(labels):
    rows = measure_all(confusion_matrices(labels, labels, 3), ["a", "b", "c"], {}, ["b", "c"])
    values = np.array([value for name, _, value in rows if name != "absent_images"])
    assert np.nanmin(values) == np.nanmax(values) == 1


def test_an_absent_class_is_left_out_of_the_mean_and_counted():
    labels = np.array([[[0, 0]], [[0, 1]]], dtype=np.uint8)
    predictions = np.array([[[0, 0]], [[0, 0]]], dtype=np.uint8)
    rows = {
        (name, group): value
        for name, group, value in measure_all(confusion_matrices(labels, predictions, 3), ["a", "b", "c"], {}, ["b"])
    }
    assert rows["image_iou", "b"] == 0  # the second image alone: in the first, b is neither true nor predicted
    assert np.isnan(rows["iou", "c"])
    assert rows["mean_iou", "all"] == pytest.approx((3 / 4 + 0) / 2)
    assert [rows["absent_images", name] for name in "abc"] == [0, 1, 2]


def test_a_class_that_is_predicted_and_never_true_counts_for_no_mean():
    labels = np.array([[[0, 0, 1, 1]]], dtype=np.uint8)
    predictions = np.array([[[0, 0, 1, 2]]], dtype=np.uint8)
    matrices = confusion_matrices(labels, predictions, 3)
    assert labelled_classes(matrices) == [0, 1]
    rows = {row[:2]: row[2] for row in measure_all(matrices, ["a", "b", "c"], {"bc": ["b", "c"]}, ["b"])}
    assert rows["iou", "c"] == 0
    assert rows["mean_iou", "all"] == pytest.approx((1 + 1 / 2) / 2)
    assert rows["mean_iou", "bc"] == pytest.approx(1 / 2)
    assert rows["mean_dice", "bc"] == pytest.approx(2 / 3)


def test_merging_the_foreground_gives_the_iou_of_the_union():
    labels = np.array([[[0, 1, 2, 2]]], dtype=np.uint8)
    predictions = np.array([[[0, 2, 1, 0]]], dtype=np.uint8)
    merged = merge_foreground(confusion_matrices(labels, predictions, 3), [1, 2])
    assert merged.tolist() == [[[1, 0], [1, 2]]]
    assert iou(merged)[0, 1] == pytest.approx(2 / 3)


def test_a_mean_over_absent_classes_only_is_not_a_number():
    assert np.isnan(mean_over_classes(np.array([np.nan, 0.5]), [0]))
    assert mean_over_classes(np.array([np.nan, 0.5]), [0, 1]) == 0.5
