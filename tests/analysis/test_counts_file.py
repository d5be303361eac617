import json
import re

import h5py
import numpy as np
import pytest

from spatial_reduction.analysis.counts_file import (
    measure_counts,
    pool,
    pool_resamples,
    read_counts,
    read_origin,
    recorded_machines,
)
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5

CLASSES = ["background", "pet"]
# Of two test images by the last of two models: rows true, columns predicted.
LAST = np.array([[[6, 2], [0, 8]], [[8, 0], [4, 4]]])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "counts.h5"
    with create_hdf5(path, "counts") as file:
        file.attrs["classes"], file.attrs["device"], file.attrs["software"] = CLASSES, "cpu (x)", ["torch 9"]
        file["intact/test/confusion"] = np.stack([LAST * 0 + 1, LAST])
        file["noise_1/test/confusion"] = LAST[None, :, ::-1]
        file["origin/json"] = np.bytes_(json.dumps({"data": "1a"}))
    return path


def test_counts_are_those_of_the_last_model_and_say_what_made_them(path):
    counts, classes = read_counts(path)
    assert classes == CLASSES
    assert counts.keys() == {"intact/confusion", "noise_1/confusion"}
    assert np.array_equal(counts["intact/confusion"], LAST)
    assert read_origin(path) == {"data": "1a"}
    assert recorded_machines([path, path]) == ({"cpu (x)"}, {"torch 9"})


def test_measures_of_the_pooled_counts_are_those_by_hand(path):
    values = measure_counts(pool(read_counts(path)[0]), CLASSES, {}, ["pet"])
    # Summed: [[14, 2], [4, 12]]: IoU 14 / 20 and 12 / 18; with swapped rows [[4, 12], [14, 2]]: 4 / 30 and 2 / 28.
    assert values["intact", "mean_iou", "all"] == pytest.approx((14 / 20 + 12 / 18) / 2)
    assert values["intact", "binary_iou", "foreground"] == pytest.approx(12 / 18)
    assert values["intact", "pixel_accuracy", "all"] == pytest.approx(26 / 32)
    corrupted = (4 / 30 + 2 / 28) / 2
    assert values["corrupted", "corruption_drop", "all"] == pytest.approx((14 / 20 + 12 / 18) / 2 - corrupted)


def test_a_resample_weighs_whole_images(path):
    counts, _ = read_counts(path)
    weights = np.array([[1, 1], [2, 0], [0.5, 1.5]])
    pooled = pool_resamples(counts, weights)
    for name, values in counts.items():
        assert np.allclose(pooled[name], np.einsum("bn,n...->b...", weights, values))


def test_counts_that_are_no_numbers_are_refused(path, tmp_path):
    other = tmp_path / "other.h5"
    with create_hdf5(other, "counts") as file:
        file.attrs["classes"] = CLASSES
        file["intact/test/confusion"] = LAST[None]
        file["intact/test/nll"] = np.array([[[np.nan, 4.0], [1.0, 4.0]]])
    with pytest.raises(InputError, match=r"other\.h5: intact/nll is \(2, 2\), expected finite \(2, 2\)"):
        read_counts(other)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("noise_1/test/confusion", (3, 2, 2)),
        ("intact/test/boundary", (2, 2, 3)),
        ("intact/test/reliability", (2, 14, 3)),
        ("intact/test/nll", (2, 1)),
    ],
)
def test_counts_of_other_images_or_of_another_shape_are_refused(path, name, shape):
    with h5py.File(path, "a") as file:
        file.pop(name, None)
        file[name] = np.ones((1, *shape))
    with pytest.raises(InputError, match=rf"counts\.h5: {name.replace('/test', '')} is {re.escape(str(shape))}"):
        read_counts(path)


def test_counts_of_other_classes_are_refused(path, tmp_path):
    other = tmp_path / "other.h5"
    with create_hdf5(other, "counts") as file:
        file.attrs["classes"] = ["a", "b", "c"]
        file["intact/test/confusion"] = LAST[None]
    with pytest.raises(InputError, match=r"other\.h5: intact/confusion is \(2, 2, 2\), expected finite \(2, 3, 3\)"):
        read_counts(other)
