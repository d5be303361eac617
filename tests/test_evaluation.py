import numpy as np
import pandas as pd
import pytest
import torch

from spatial_reduction.errors import InputError
from spatial_reduction.evaluation import evaluate_model
from spatial_reduction.metrics import confusion_matrices, measure_all
from spatial_reduction.model import build_model, load_model, save_model, to_input
from spatial_reduction.storage import open_hdf5
from spatial_reduction.tables import collect_histories, collect_metrics


@pytest.fixture
def evaluate(dataset_path, tmp_path):
    for seed in (1, 2):
        save_model(tmp_path / f"{seed}.safetensors", build_model(3, 3, {"widths": [2, 4]}, seed))

    def run(models=(1, 2)):
        evaluate_model(
            dataset=dataset_path,
            models=[tmp_path / f"{name}.safetensors" for name in models],
            metrics=tmp_path / "metrics.csv",
            confusion=tmp_path / "confusion.h5",
            splits=["validation", "test"],
            class_groups={"pet_and_background": ["pet", "background"]},
            foreground=["pet", "border"],
            run={"arm": "a", "threshold": "92.5", "seed": "1"},
            device="cpu",
            threads=1,
        )
        return pd.read_csv(tmp_path / "metrics.csv", dtype={"threshold": str})

    return run


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
    confusion = confusion_matrices(labels, predictions.numpy(), 3)
    expected = measure_all(confusion, dataset.classes, {"pet_and_background": ["pet", "background"]}, ["pet", "border"])
    found = table[(table["iteration"] == 2) & (table["split"] == "test")]
    assert list(zip(found["measure"], found["class"], strict=True)) == [row[:2] for row in expected]
    assert found["value"].tolist() == pytest.approx([row[2] for row in expected], nan_ok=True)
    with open_hdf5(tmp_path / "confusion.h5", "confusion") as file:
        assert file["test"].shape == (2, 12, 3, 3)
        assert np.array_equal(file["test"][1], confusion)


def test_a_model_that_does_not_fit_the_data_is_refused_and_leaves_nothing(evaluate, tmp_path):
    save_model(tmp_path / "2.safetensors", build_model(3, 4, {"widths": [2, 4]}, seed=1))
    with pytest.raises(InputError, match=r"2\.safetensors: model of another architecture"):
        evaluate()
    assert {path.name for path in tmp_path.iterdir()} == {"1.safetensors", "2.safetensors"}


def test_logits_that_are_not_finite_stop_the_job(evaluate, tmp_path):
    model = build_model(3, 3, {"widths": [2, 4]}, seed=1)
    torch.nn.init.constant_(model.head.bias, float("inf"))
    save_model(tmp_path / "2.safetensors", model)
    with pytest.raises(InputError, match=r"2\.safetensors: the model's logits are not finite \(validation split\)"):
        evaluate()


def test_an_empty_cell_stands_for_a_measure_that_is_not_defined(evaluate, dataset_path, tmp_path):
    table = evaluate()
    assert table["value"].isna().sum() == (table["value"] != table["value"]).sum()
    assert table[table["measure"] == "absent_images"]["value"].between(0, 12).all()


def test_tables_of_chains_are_labelled_and_joined(tmp_path):
    (tmp_path / "a.csv").write_text("arm,threshold,seed,value\nx,92.5,1,0.5\n")
    (tmp_path / "b.csv").write_text("arm,threshold,seed,value\ny,100,1,\n")
    collect_metrics([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text() == "arm,threshold,seed,value\nx,92.5,1,0.5\ny,100,1,\n"


def test_a_history_that_chains_share_is_listed_for_each_of_them(tmp_path):
    (tmp_path / "first.csv").write_text("epoch,train_loss\n1,0.5\n2,0.25\n")
    paths, labels = [tmp_path / "first.csv"] * 2, [["x", "90", "1", 1], ["y", "80", "1", 1]]
    collect_histories(paths, labels, tmp_path / "history.csv")
    table = pd.read_csv(tmp_path / "history.csv")
    assert table["arm"].tolist() == ["x", "x", "y", "y"]
    assert table["threshold"].tolist() == [90, 90, 80, 80]
    assert table["train_loss"].tolist() == [0.5, 0.25] * 2
