import shutil
from importlib.metadata import version

import h5py
import numpy as np
import pytest
import torch

from experiments import PROTOCOLS, edited_hdf5, reduction_step
from spatial_reduction.analysis.counts_file import read_origin, recorded_machines
from spatial_reduction.data import dataset_file
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.evaluation.protocols import build_views
from spatial_reduction.metrics.boundary_iou import boundary_counts, measure_boundaries
from spatial_reduction.metrics.objects import OBJECT_MEASURES, object_counts
from spatial_reduction.metrics.overlap import ClassSets, confusion_matrices, measure_all
from spatial_reduction.networks.inference import to_input
from spatial_reduction.networks.model_file import build_model, load_model, save_model
from spatial_reduction.runtime.device import Machine, device_name
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import open_hdf5, table_digest
from spatial_reduction.saliency.base import Context


def test_metrics_are_tidy_and_complete(evaluate):
    table = evaluate()
    columns = ["arm", "threshold", "seed", "iteration", "split", "protocol", "measure", "class", "value"]
    assert list(table.columns) == columns
    assert not table.duplicated(columns[:-1]).any()
    assert set(table["threshold"]) == {"92.5"}
    assert set(table["iteration"]) == {1, 2}
    assert set(table["split"]) == {"validation", "test"}
    names = set(zip(table["measure"], table["class"], strict=True))
    assert {("iou", "pet"), ("dice", "border"), ("mean_iou", "all"), ("mean_dice", "pet_and_background")} <= names
    assert {("binary_iou", "foreground"), ("pixel_accuracy", "all"), ("image_mean_iou", "all")} <= names
    assert {("absent_images", name) for name in ("background", "pet", "border")} <= names


def test_values_are_those_of_the_models_predictions(evaluate, dataset, tmp_path):
    table = evaluate()
    images, labels = dataset.pick("test", range(12))
    with torch.inference_mode():
        predictions = load_model(tmp_path / "2.safetensors").eval()(to_input(torch.from_numpy(images))).argmax(dim=1)
    assert set(predictions.unique().tolist()) == {0, 1, 2}
    confusion = confusion_matrices(labels, predictions.numpy(), 3)
    groups = {"pet_and_background": ["pet", "background"]}
    expected = measure_all(confusion, dataset.classes, groups, ["pet", "border"])
    bands = boundary_counts(labels, predictions.numpy(), 3).sum(axis=0)
    about = ClassSets.of(dataset.classes, groups, [], [0, 1, 2])
    expected += [(*key, float(value)) for key, value in measure_boundaries(bands, about).items()]
    found = table[(table["iteration"] == 2) & (table["split"] == "test")][: len(expected)]
    assert list(zip(found["measure"], found["class"], strict=True)) == [row[:2] for row in expected]
    assert found["value"].tolist() == pytest.approx([row[2] for row in expected], nan_ok=True)
    with open_hdf5(tmp_path / "counts.h5", "counts") as file:
        assert np.array_equal(file["intact/test/confusion"][1], confusion)


def test_symmetries_average_every_protocol(evaluate, dataset, tmp_path):
    section = {"name": "unet", "widths": [4, 8], "initialisation": "he"}
    save_model(tmp_path / "he.safetensors", build_model(3, 3, section, seed=2))
    evaluate(("he",), protocols=("intact", "noise"), test_time_augmentation=8)
    with open_hdf5(tmp_path / "counts.h5", "counts") as file:
        found = file["intact/test/confusion"][0], file["noise_1/test/confusion"][0]
    evaluate(("he",), protocols=("intact", "noise"))
    with open_hdf5(tmp_path / "counts.h5", "counts") as file:
        assert all(
            (file[f"{name}/test/confusion"][0] != found[i]).any() for i, name in enumerate(("intact", "noise_1"))
        )
    images, labels = dataset.pick("test", range(12))
    model, total = load_model(tmp_path / "he.safetensors").eval(), 0
    with torch.inference_mode():
        for turns in range(4):
            for mirrored in (images, images[:, ::-1]):
                shown = np.rot90(mirrored, turns, axes=(1, 2)).copy()
                seen = np.rot90(model(to_input(torch.from_numpy(shown))).softmax(dim=1).numpy(), -turns, axes=(2, 3))
                total = total + (seen if mirrored is images else seen[:, :, ::-1])
    assert np.array_equal(found[0], confusion_matrices(labels, total.argmax(axis=1).astype(np.uint8), 3))


def test_masks_of_the_test_images_are_drawn_by_the_seed_of_the_chain(evaluate, dataset, tmp_path):
    evaluate(source="random", protocols=("intact", "self_masked"))
    step = reduction_step("92.5", source="random")
    context = Context(tmp_path / "1.safetensors", Machine("cpu", 1), 3, [1, 2], seed=1, iteration=2)
    view = build_views(["self_masked"], dataset, ["pet", "border"], step, context)["self_masked"]
    model = load_model(tmp_path / "2.safetensors").eval()
    with torch.inference_mode(), open_hdf5(tmp_path / "counts.h5", "counts") as file:
        for block, images, labels in view(dataset.blocks("test")):
            predictions = model(to_input(torch.from_numpy(images))).argmax(dim=1).numpy()
            found = file["self_masked/test/confusion"][0, block]
            assert np.array_equal(found, confusion_matrices(labels, predictions, 3))


def test_the_counts_name_the_classes_the_device_and_the_software(evaluate, dataset, tmp_path):
    evaluate()
    devices, software = recorded_machines([tmp_path / "counts.h5"])
    assert devices == {device_name(torch.device("cpu"))}
    assert software == {f"{name} {version(name)}" for name in ("torch", "numpy", "h5py", "safetensors")}
    with h5py.File(tmp_path / "counts.h5") as file:
        assert file.attrs["classes"].tolist() == list(dataset.classes) == ["background", "pet", "border"]


def test_trainings_that_differ_by_their_iteration_alone_are_recorded_once(evaluate, dataset_path, tmp_path):
    network = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1)
    for iteration in (1, 2, 3):
        asked = {"data": "some", "train_model": {"code": "c", "iteration": iteration}, "files": {"history": iteration}}
        save_model(tmp_path / f"{iteration}.safetensors", network, asked)
    evaluate((1, 2, 3))
    assert read_origin(tmp_path / "counts.h5") == {
        "trainings": [{"data": "some", "train_model": {"code": "c"}}],
        "files": [{"history": 1}, {"history": 2}, {"history": 3}],
        "data": Dataset.open(dataset_path).digest,
        "evaluate_model": {},
        "metrics": table_digest(tmp_path / "metrics.csv"),
    }


def test_the_log_says_what_was_evaluated_on_what(evaluate, tmp_path, capfd):
    evaluate(protocols=["intact", "label_masked", "noise"])
    said = "2 models evaluated on validation, test, the last one by 5 protocols"
    assert f"{tmp_path}/metrics.csv: {said}\n" in capfd.readouterr().err


def test_the_file_of_counts_keeps_its_contract(evaluate, tmp_path):
    table = evaluate(protocols=PROTOCOLS)
    last = ((1, 12, 3, 3), "int64")
    with h5py.File(tmp_path / "counts.h5") as file:
        found = {}
        stored = [file[f"{place}/test/confusion"] for place in ("intact", "noise_1")]
        assert [(each.fletcher32, each.chunks) for each in stored] == [(True, (1, 12, 3, 3))] * 2
        file.visititems(
            lambda name, item: found.update({name: (item.shape, str(item.dtype))} if hasattr(item, "shape") else {})
        )
        assert {"classes", "device", "software"} <= set(file.attrs)
        confusion = file["intact/test/confusion"][-1]
        reliability, nll = file["intact/test/reliability"][-1], file["intact/test/nll"][-1]
    shown = ["self_masked", "label_masked", "noise_1", "noise_2", "noise_3", "background_swapped"]
    assert found.pop("origin/json")[0] == ()
    assert found == {
        "intact/validation/confusion": ((2, 2, 3, 3), "int64"),
        "intact/test/confusion": ((2, 12, 3, 3), "int64"),
        "intact/test/boundary": ((1, 12, 3, 2), "int64"),
        "intact/test/reliability": ((1, 12, 15, 3), "float64"),
        "intact/test/nll": ((1, 12, 2), "float64"),
        **{f"{protocol}/test/confusion": last for protocol in shown},
    }
    assert set(table["protocol"]) == {"intact", *shown}
    assert set(table[table["protocol"] != "intact"]["iteration"]) == {2}
    pixels, right = confusion.sum(axis=(1, 2)), np.trace(confusion, axis1=1, axis2=2)
    assert np.array_equal(reliability[:, :, 0].sum(axis=1), pixels)
    assert np.array_equal(reliability[:, :, 2].sum(axis=1), right)
    assert np.array_equal(nll[:, 1], pixels)


def test_outlines_and_calibration_are_of_the_last_model_on_intact_test_images(evaluate):
    table = evaluate(protocols=["intact", "label_masked"])
    new = table[table["measure"].isin(["boundary_iou", "mean_boundary_iou", "ece", "nll"])]
    assert set(zip(new["iteration"], new["split"], new["protocol"], strict=True)) == {(2, "test", "intact")}
    assert set(zip(new["measure"], new["class"], strict=True)) == {
        *(("boundary_iou", name) for name in ("background", "pet", "border")),
        ("mean_boundary_iou", "all"),
        ("mean_boundary_iou", "pet_and_background"),
        ("ece", "all"),
        ("nll", "all"),
    }


def test_means_of_outlines_are_over_the_classes_that_the_labels_hold(evaluate, dataset, tmp_path):
    path = shutil.copy(dataset.path, tmp_path / "dataset.h5")
    with edited_hdf5(path) as file:
        labels = file["labels"][:]
        file["labels"][:] = np.where(labels == 2, 0, labels)  # no border any more
    table = evaluate(dataset=path)
    rows = table[table["measure"].str.contains("boundary")].set_index(["measure", "class"])["value"]
    of_classes = [rows["boundary_iou", name] for name in ("background", "pet", "border")]
    assert of_classes[2] == 0 < sum(of_classes)  # predicted
    assert rows["mean_boundary_iou", "all"] == pytest.approx(sum(of_classes) / 2)


PETS = {"class": "pet", "connectivity": 2, "minimum_size": 3}


@pytest.mark.parametrize("has_instances", [False, True])
def test_objects_are_of_the_last_model_on_intact_test_images(evaluate, dataset, tmp_path, monkeypatch, has_instances):
    monkeypatch.setattr(dataset_file, "BLOCK_PIXELS", 5 * 16 * 16)  # five images a block
    path = shutil.copy(dataset.path, tmp_path / "dataset.h5")
    images, labels = dataset.pick("test", range(12))
    instances = None
    if has_instances:
        instances = np.where(labels == 1, 1 + np.arange(16) // 8, 0).astype(np.uint16)  # two halves
        with edited_hdf5(path) as file:
            file["instances"] = np.zeros((24, 16, 16), dtype=np.uint16)
            file["instances"][12:] = instances
    table = evaluate(objects=PETS, dataset=path)
    with torch.inference_mode():
        predictions = load_model(tmp_path / "2.safetensors").eval()(to_input(torch.from_numpy(images))).argmax(dim=1)
    expected = object_counts(labels, predictions.numpy(), instances, 1, 2, 3)
    with h5py.File(tmp_path / "counts.h5") as file:
        stored = file["intact/test/objects"]
        assert (stored.shape, stored.dtype) == ((1, 12, len(OBJECT_MEASURES), 2), np.float64)
        assert tuple(stored.attrs["measures"]) == OBJECT_MEASURES
        assert np.array_equal(stored[0], expected)
    rows = table[table["measure"].isin(OBJECT_MEASURES)]
    assert set(zip(rows["iteration"], rows["split"], rows["protocol"], strict=True)) == {(2, "test", "intact")}
    assert rows["measure"].tolist() == list(OBJECT_MEASURES)
    assert set(rows["class"]) == {"all"}
    sums, numbers = expected.sum(axis=0).T
    values = [total / number if number else np.nan for total, number in zip(sums, numbers, strict=True)]
    assert rows["value"].tolist() == pytest.approx(values, nan_ok=True)


def test_measuring_objects_changes_no_other_row(evaluate, tmp_path):
    evaluate()
    without = (tmp_path / "metrics.csv").read_text()
    evaluate(objects=PETS)
    lines = (tmp_path / "metrics.csv").read_text().splitlines(keepends=True)
    assert len(lines) == len(without.splitlines()) + len(OBJECT_MEASURES)
    assert "".join(line for line in lines if not set(line.split(",")) & set(OBJECT_MEASURES)) == without


@pytest.mark.parametrize(("models", "source"), [((2,), "probability"), ((1, 2), "oracle")])
def test_a_chain_that_cannot_mask_itself_has_no_self_masked_rows(evaluate, models, source):
    protocols = set(evaluate(models, source, protocols=("intact", "self_masked", "label_masked"))["protocol"])
    assert protocols == {"intact", "label_masked"}


def test_a_chain_of_one_iteration_sees_whole_images_through_the_oracles_mask(evaluate):
    table = evaluate((2,), protocols=("intact", "label_masked"))
    is_test = (table["split"] == "test") & ~table["measure"].str.contains("boundary|ece|nll")
    intact, masked = (
        table[is_test & (table["protocol"] == name)]["value"].tolist() for name in ("intact", "label_masked")
    )
    assert masked == pytest.approx(intact, nan_ok=True)


def test_a_model_that_does_not_fit_the_data_is_refused_and_leaves_nothing(evaluate, tmp_path):
    save_model(tmp_path / "2.safetensors", build_model(3, 4, {"name": "unet", "widths": [2, 4]}, seed=1))
    with pytest.raises(InputError, match=r"2\.safetensors: model of another architecture"):
        evaluate()
    assert {path.name for path in tmp_path.iterdir()} == {"1.safetensors", "2.safetensors"}


def test_logits_that_are_not_finite_stop_the_job(evaluate, tmp_path):
    model = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1)
    for part in (model.head.weight, model.head.bias):  # finite, but not what they add up to
        torch.nn.init.constant_(part, 3e38)
    save_model(tmp_path / "2.safetensors", model)
    with pytest.raises(InputError, match=r"2\.safetensors on validation, intact: the model's logits are not finite"):
        evaluate()


def test_an_empty_cell_stands_for_a_measure_that_is_not_defined(evaluate, dataset_path, tmp_path):
    table = evaluate()
    assert table["value"].isna().sum() == (table["value"] != table["value"]).sum()
    assert table[table["measure"] == "absent_images"]["value"].between(0, 12).all()
