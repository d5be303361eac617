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
    counts = np.stack([(labels == index).sum(axis=0) for index in range(3)])
    assert np.array_equal(np.take_along_axis(counts, prior[None].astype(int), axis=0)[0], counts.max(axis=0))


def test_a_position_that_is_never_labelled_has_the_commonest_class_of_all(dataset, tmp_path):
    path = tmp_path / "copy.h5"
    path.write_bytes(dataset.path.read_bytes())
    with edited_hdf5(path) as file:
        file["labels"][:] = 0
        file["labels"][:, 4:] = 2  # the commonest is not the first class
        file["labels"][:, 2, 3] = IGNORED
        file["labels"][1:, 2, 4] = IGNORED  # labelled once
    prior = position_prior(Dataset.open(path))
    assert (prior[2, 3], prior[2, 4], prior[2, 5]) == (2, 0, 0)


def test_predictors_that_see_no_image_are_measured_as_models_are(dataset, measured):
    _, rows = measured
    assert {row["predictor"] for row in rows} == {
        "position_prior",
        *(f"constant_{name}" for name in dataset.classes),
    }
    for split in ("validation", "test"):
        labels = np.concatenate([labels for _, _, labels in dataset.blocks(split)])
        shown = np.broadcast_to(position_prior(dataset), labels.shape)
        expected = measure_all(confusion_matrices(labels, shown, 3), dataset.classes, {"pets": ["pet"]}, ["pet"])
        for measure, group, value in expected:
            if value == value:
                assert value_of(rows, "position_prior", split, measure, group) == pytest.approx(value)
        # Always one class: its share of the pixels is its IoU, the others have 0.
        for index, name in enumerate(dataset.classes):
            share = (labels == index).sum() / (labels != IGNORED).sum()
            assert value_of(rows, f"constant_{name}", split, "mean_iou", "all") == pytest.approx(share / 3)
            assert value_of(rows, f"constant_{name}", split, "iou", name) == pytest.approx(share)


def test_the_log_says_how_many_predictors_were_measured_on_what(dataset, tmp_path, capfd):
    output = tmp_path / "references.csv"
    measure_references(dataset.path, ["validation", "test"], {}, ["pet"], output)
    assert f"{output}: 4 predictors that see no image, on validation, test\n" in capfd.readouterr().err


def test_the_best_reference_is_that_of_the_test_images(measured):
    path, rows = measured
    values = [float(r["value"]) for r in rows if (r["split"], r["measure"], r["class"]) == ("test", "mean_iou", "all")]
    assert best_reference(path) == max(values) > 0


def test_the_best_reference_passes_over_what_is_not_defined_and_refuses_to_be_of_nothing(tmp_path):
    path, head = tmp_path / "table.csv", "predictor,split,measure,class,value\n"
    path.write_text(head + "a,test,mean_iou,all,0.25\nb,test,mean_iou,all,\nc,test,mean_iou,pets,0.75\n")
    assert best_reference(path) == 0.25
    path.write_text(head)
    message = "holds no mean_iou of all classes on the test images; delete it and run again"
    with pytest.raises(InputError, match=rf"table\.csv: {message}"):
        best_reference(path)
    path.write_text(head + "a,test,mean_iou,all,0.25\nb,test,mean_iou,all,0.3")
    with pytest.raises(InputError, match=r"table\.csv: a table that was cut short"):
        best_reference(path)
