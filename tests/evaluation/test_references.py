import csv

import numpy as np
import pytest

from experiments import edited_hdf5
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.labels import IGNORED
from spatial_reduction.evaluation.references import best_reference, measure_references, position_prior
from spatial_reduction.metrics.overlap import confusion_matrices, measure_all
from spatial_reduction.runtime.errors import InputError


@pytest.fixture
def measured(dataset, tmp_path):
    output = tmp_path / "references.csv"
    measure_references(dataset.path, ["validation", "test"], {"pets": ["pet"]}, ["pet"], output)
    with open(output, newline="") as file:
        return output, list(csv.DictReader(file))


def value_of(rows, predictor, split, measure, group):
    (row,) = [
        row
        for row in rows
        if (row["predictor"], row["split"], row["measure"], row["class"]) == (predictor, split, measure, group)
    ]
    return float(row["value"])


def test_the_prior_is_the_commonest_class_of_each_position(dataset):
    labels = np.concatenate([labels for _, _, labels in dataset.blocks("train")])
    prior = position_prior(dataset)
    assert (prior.shape, prior.dtype) == (dataset.image_shape[:2], np.uint8)
    for y, x in [(0, 0), (8, 8), (15, 3), (5, 12)]:
        seen = labels[:, y, x]
        counts = np.bincount(seen[seen != IGNORED], minlength=3)
        assert counts[prior[y, x]] == counts.max()


def test_a_position_that_is_never_labelled_has_the_commonest_class_of_all(dataset, tmp_path):
    path = tmp_path / "copy.h5"
    path.write_bytes(dataset.path.read_bytes())
    with edited_hdf5(path) as file:
        file["labels"][:, 2, 3] = IGNORED
    labels = np.concatenate([labels for _, _, labels in dataset.blocks("train")])
    assert position_prior(Dataset.open(path))[2, 3] == np.bincount(labels[labels != IGNORED]).argmax()


def test_predictors_that_see_no_image_are_measured_as_models_are(dataset, measured):
    _, rows = measured
    assert {row["predictor"] for row in rows} == {
        "position_prior",
        *(f"constant_{name}" for name in dataset.classes),
    }
    labels = np.concatenate([labels for _, _, labels in dataset.blocks("test")])
    shown = np.broadcast_to(position_prior(dataset), labels.shape)
    expected = measure_all(confusion_matrices(labels, shown, 3), dataset.classes, {"pets": ["pet"]}, ["pet"])
    for measure, group, value in expected:
        if value == value:
            assert value_of(rows, "position_prior", "test", measure, group) == pytest.approx(value)
    # Always background: its share of the pixels is its IoU, the others have 0.
    share = (labels == 0).sum() / (labels != IGNORED).sum()
    assert value_of(rows, "constant_background", "test", "mean_iou", "all") == pytest.approx(share / 3)


def test_the_best_reference_is_that_of_the_test_images(measured, tmp_path):
    path, rows = measured
    values = [float(r["value"]) for r in rows if (r["split"], r["measure"], r["class"]) == ("test", "mean_iou", "all")]
    assert best_reference(path) == max(values) > 0
    (tmp_path / "empty.csv").write_text("predictor,split,measure,class,value\n")
    with pytest.raises(InputError, match=r"empty\.csv: holds no mean_iou of all classes"):
        best_reference(tmp_path / "empty.csv")
