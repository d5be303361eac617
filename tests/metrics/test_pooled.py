import numpy as np
import pytest

from spatial_reduction.metrics.overlap import ClassSets
from spatial_reduction.metrics.pooled import measure_pooled

CLASSES = ClassSets.of(["background", "pet"], {"pets": ["pet"]}, ["pet"], [0, 1])
# Rows true, columns predicted: IoU 6 / 8 and 4 / 6, Dice 12 / 14 and 8 / 10.
CONFUSION = np.array([[6, 2], [0, 4]])


def test_overlaps_of_classes_groups_and_foreground_by_hand():
    means = {"mean_iou": (6 / 8 + 4 / 6) / 2, "mean_dice": (12 / 14 + 8 / 10) / 2}
    expected = {("iou", "background"): 6 / 8, ("iou", "pet"): 4 / 6}
    expected |= {("dice", "background"): 12 / 14, ("dice", "pet"): 8 / 10}
    expected |= {(name, "all"): value for name, value in means.items()}
    expected |= {("mean_iou", "pets"): 4 / 6, ("mean_dice", "pets"): 8 / 10}
    expected |= {("binary_iou", "foreground"): 4 / 6, ("pixel_accuracy", "all"): 10 / 12}
    assert measure_pooled("confusion", CONFUSION, CLASSES) == pytest.approx(expected)


def test_what_is_measured_beside_overlap_by_hand():
    boundary = measure_pooled("boundary", np.array([[1, 4], [3, 4]]), CLASSES)
    assert boundary == {
        ("boundary_iou", "background"): 1 / 4,
        ("boundary_iou", "pet"): 3 / 4,
        ("mean_boundary_iou", "all"): 1 / 2,
        ("mean_boundary_iou", "pets"): 3 / 4,
    }
    reliability = np.zeros((15, 3))
    reliability[7], reliability[14] = (20, 10.0, 14.0), (20, 19.0, 15.0)
    assert measure_pooled("reliability", reliability, CLASSES) == {("ece", "all"): (4 + 4) / 40}
    assert measure_pooled("nll", np.array([40.0, 200.0]), CLASSES) == {("nll", "all"): 0.2}
    assert measure_pooled("objects/seg", np.array([3.0, 4.0]), CLASSES) == {("seg", "all"): 0.75}


SHAPES = {"confusion": (2, 2), "boundary": (2, 2), "reliability": (15, 3), "nll": (2,), "objects/seg": (2,)}


@pytest.mark.parametrize(("quantity", "shape"), SHAPES.items())
def test_each_of_many_resamples_is_measured_as_if_alone(quantity, shape):
    many = np.random.default_rng(0).integers(1, 9, (5, *shape))
    together = measure_pooled(quantity, many, CLASSES)
    for index, one in enumerate(many):
        alone = measure_pooled(quantity, one, CLASSES)
        assert together.keys() == alone.keys()
        assert [value[index] for value in together.values()] == pytest.approx(
            [float(value) for value in alone.values()]
        )
