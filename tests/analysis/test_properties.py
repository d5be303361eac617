"""What holds for any scores, labels and settings: masks, measures, schedules, statistics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from spatial_reduction.analysis.statistics import ImageNoise, adjust_holm, contrast, signed_rank_test
from spatial_reduction.masks.ranking import Schedule, shrink_mask
from spatial_reduction.metrics.boundary_iou import boundary_counts, boundary_iou
from spatial_reduction.metrics.calibration import calibration_error, reliability_counts
from spatial_reduction.metrics.objects import object_counts
from spatial_reduction.metrics.overlap import confusion_matrices, dice, iou, mean_over_classes, pixel_accuracy
from spatial_reduction.training.optimizer import Plateau

SCORES = st.sampled_from([-np.inf, -1e30, -1.0, -0.0, 0.0, 1e-30, 1.0, 1e30, np.inf])
PLANES = npst.arrays(np.float32, (3, 4, 5), elements=SCORES)
LABELS = npst.arrays(np.uint8, (3, 6, 7), elements=st.sampled_from([0, 1, 2, 255]))
CLASSES = npst.arrays(np.uint8, (3, 6, 7), elements=st.integers(0, 2))
DIFFERENCES = st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=8)


# ---- masks ---------------------------------------------------------------------------------------------------------


@given(scores=PLANES, counts=st.lists(st.integers(0, 20), min_size=2, max_size=5))
def test_masks_of_falling_counts_are_nested_whether_taken_in_steps_or_at_once(scores, counts):
    everything = np.ones(scores.shape, bool)
    stepwise = everything
    for count in sorted(counts, reverse=True):
        smaller = shrink_mask(stepwise, scores, count)
        assert not (smaller & ~stepwise).any()
        assert (smaller.sum(axis=(1, 2)) == count).all()
        stepwise = smaller
    assert np.array_equal(stepwise, shrink_mask(everything, scores, min(counts)))


@given(scores=PLANES, count=st.integers(0, 20))
def test_a_mask_depends_on_the_order_of_the_scores_alone_and_on_its_own_image_alone(scores, count):
    everything = np.ones(scores.shape, bool)
    kept = shrink_mask(everything, scores, count)
    ranks = np.unique(scores, return_inverse=True)[1].reshape(scores.shape).astype(np.float32)
    assert np.array_equal(kept, shrink_mask(everything, 7 * ranks - 3, count))
    assert np.array_equal(kept[::-1], shrink_mask(everything, scores[::-1], count))
    assert np.array_equal(kept[1:2], shrink_mask(everything[1:2], scores[1:2], count))


@given(count=st.integers(0, 20), value=SCORES)
def test_of_equal_scores_the_first_pixels_stay(count, value):
    kept = shrink_mask(np.ones((2, 4, 5), bool), np.full((2, 4, 5), value, np.float32), count)
    assert np.array_equal(kept.reshape(2, -1), np.tile(np.arange(20) < count, (2, 1)))


@given(
    schedule=st.sampled_from(["compounding", "constant", "additive"]),
    threshold=st.decimals("0.01", 100, places=2),
    step=st.integers(-3, 3),
    pixels=st.integers(1, 5000),
    iterations=st.integers(1, 8),
)
def test_a_schedule_keeps_between_one_and_all_pixels(schedule, threshold, step, pixels, iterations):
    if float(threshold) + step * (iterations - 2) <= 0 and schedule == "additive":
        return  # refused with the configuration
    counts = [Schedule(schedule, step, str(threshold)).count(pixels, k) for k in range(1, iterations + 1)]
    assert counts[0] == pixels
    assert all(1 <= count <= pixels for count in counts)
    if schedule == "compounding":
        assert counts == sorted(counts, reverse=True)


@given(losses=st.lists(st.floats(0, 10), max_size=30), factor=st.floats(0.05, 0.95), patience=st.integers(0, 4))
def test_a_learning_rate_never_rises_and_falls_at_most_every_patience_plus_one_epochs(losses, factor, patience):
    plateau, rates = Plateau(factor, patience), [0.1]
    for loss in losses:
        rates.append(plateau.next_rate(loss, rates[-1]))
    falls = [index for index in range(1, len(rates)) if rates[index] < rates[index - 1]]
    assert rates == sorted(rates, reverse=True)
    assert all(later - earlier > patience for earlier, later in zip([-1, *falls], falls, strict=False))
    assert rates[-1] > 0


# ---- measures ------------------------------------------------------------------------------------------------------


@given(labels=CLASSES, predictions=CLASSES)
def test_overlap_is_symmetric_and_between_0_and_1(labels, predictions):
    there, back = (confusion_matrices(*pair, 3).sum(axis=0) for pair in ((labels, predictions), (predictions, labels)))
    for measure in (iou, dice):
        assert np.array_equal(measure(there), measure(back), equal_nan=True)
        values = measure(there)[~np.isnan(measure(there))]
        assert ((values >= 0) & (values <= 1)).all()
    assert pixel_accuracy(there) == pixel_accuracy(back)
    bands = [
        boundary_iou(boundary_counts(*pair, 3).sum(axis=0)) for pair in ((labels, predictions), (predictions, labels))
    ]
    assert np.array_equal(*bands, equal_nan=True)


@given(labels=LABELS, predictions=CLASSES, names=st.permutations(range(3)))
def test_to_rename_the_classes_renames_their_measures_alone(labels, predictions, names):
    renamed = np.array([*names, *[255] * 253], np.uint8)
    first = iou(confusion_matrices(labels, predictions, 3).sum(axis=0))
    other = iou(confusion_matrices(renamed[labels], renamed[predictions], 3).sum(axis=0))
    assert np.array_equal(other[list(names)], first, equal_nan=True)
    assert mean_over_classes(other, range(3)) == pytest.approx(mean_over_classes(first, range(3)), nan_ok=True)


@given(labels=LABELS, predictions=CLASSES, order=st.permutations(range(3)))
def test_counts_of_images_in_another_order_are_the_same_counts_in_that_order(labels, predictions, order):
    order = list(order)
    for count in (confusion_matrices, boundary_counts):
        assert np.array_equal(count(labels[order], predictions[order], 3), count(labels, predictions, 3)[order])
    objects = object_counts(labels, predictions, None, 1, 1, 1)
    assert np.array_equal(
        object_counts(labels[order], predictions[order], None, 1, 1, 1), objects[order], equal_nan=True
    )


@given(labels=LABELS, logits=npst.arrays(np.float32, (3, 3, 6, 7), elements=st.floats(-20, 20, width=32)))
def test_a_calibration_error_is_between_0_and_1_and_does_not_depend_on_the_order_of_pixels(labels, logits):
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    error = calibration_error(reliability_counts(labels, log_probabilities).sum(axis=0))
    turned = calibration_error(reliability_counts(labels[:, ::-1], log_probabilities[:, :, ::-1]).sum(axis=0))
    assert np.isnan(error) or -1e-9 <= error <= 1 + 1e-9
    assert turned == pytest.approx(error, nan_ok=True)


# ---- statistics ----------------------------------------------------------------------------------------------------


@given(differences=DIFFERENCES, spread=st.floats(0, 2))
def test_to_exchange_the_arms_turns_the_contrast_round(differences, spread):
    there, back = (contrast(sign * np.array(differences), ImageNoise(spread, spread, 100), 0.5) for sign in (1, -1))
    assert back.difference == pytest.approx(-there.difference, abs=1e-9)
    assert (back.ci_low, back.ci_high) == pytest.approx((-there.ci_high, -there.ci_low), abs=1e-6, nan_ok=True)
    assert back.p_value == pytest.approx(there.p_value, nan_ok=True)
    assert back.p_wilcoxon == pytest.approx(there.p_wilcoxon, nan_ok=True)
    assert back.probability_better == pytest.approx(1 - there.probability_better)


@given(differences=DIFFERENCES, spread=st.floats(0, 2), order=st.randoms())
def test_a_contrast_holds_its_difference_and_does_not_depend_on_the_order_of_seeds(differences, spread, order):
    first = contrast(np.array(differences), ImageNoise(spread, spread, 100), 0.5)
    shuffled = list(differences)
    order.shuffle(shuffled)
    again = contrast(np.array(shuffled), ImageNoise(spread, spread, 100), 0.5)
    assert first.ci_low - 1e-9 <= first.difference <= first.ci_high + 1e-9
    assert all(0 <= p <= 1 for p in (first.p_value, first.p_wilcoxon, first.p_equivalence))
    assert again.difference == pytest.approx(first.difference, abs=1e-9)
    assert again.p_value == pytest.approx(first.p_value, abs=1e-6)


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=12), order=st.randoms())
def test_adjusted_p_values_keep_their_order_are_no_smaller_and_at_most_1(values, order):
    values = np.array(values)
    adjusted = adjust_holm(values)
    assert ((adjusted >= values) & (adjusted <= 1)).all()
    assert (np.diff(adjusted[np.argsort(values, kind="stable")]) >= -1e-12).all()
    places = list(range(len(values)))
    order.shuffle(places)
    assert adjust_holm(values[places]) == pytest.approx(adjusted[places])


@given(differences=st.lists(st.floats(-5, 5), min_size=1, max_size=10))
def test_an_exact_test_is_no_smaller_than_its_floor(differences):
    assert 2 / 2 ** len(differences) <= signed_rank_test(np.array(differences)) <= 1
