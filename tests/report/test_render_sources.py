import csv

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.report.page import source_table
from spatial_reduction.report.render_sources import REPEATS, measure_mask, render_sources
from spatial_reduction.report.sources_figure import plot_sources, rank_scores
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError

CLASSES = ["background", "pet", "border"]
SOURCES = ["probability", "oracle", "centre"]


def test_recall_is_the_share_of_a_class_that_is_kept():
    labels = np.array([[[0, 0, 0, 1]], [[0, 255, 1, 1]]])
    kept = np.array([[[True, False, False, True]], [[False, True, False, True]]])
    scores = np.array([[[3, 2, 1, 4]], [[1, 4, 2, 3]]], np.float32)
    rows = {(row["measure"], row["class"]): row["value"] for row in measure_mask(kept, scores, labels, CLASSES)}
    assert rows["recall", "background"] == pytest.approx(100 / 4)
    assert rows["recall", "pet"] == pytest.approx(100 * 2 / 3)
    assert np.isnan(rows["recall", "border"])
    assert rows["decided_by_index", "all"] == 0


def test_ties_count_where_only_some_of_them_are_kept():
    scores = np.array([[[5, 1, 1, 1]], [[5, 1, 1, 0]]], np.float32)
    kept = np.array([[[True, True, True, False]], [[True, True, True, False]]])
    row = measure_mask(kept, scores, np.zeros((2, 1, 4), np.uint8), ["all"])[-1]
    assert row["value"] == pytest.approx((75 + 0) / 2)


def test_ranks_run_from_0_to_100_and_ties_share_theirs():
    assert rank_scores(np.array([[[7.0, -1.0, 3.0, 3.0]]])).tolist() == [[[87.5, 12.5, 50, 50]]]


def render(dataset_path, folder, model):
    path = folder / "model.safetensors"
    save_model(path, model)
    render_sources(
        dataset=dataset_path,
        model=path,
        report={"sources": SOURCES, "images": 2},
        reduction={"thresholds": ["90", "50"], "classes_of_interest": ["pet", "border"]},
        seed=1,
        machine=Machine("cpu", 1),
        outputs={"pictures": folder / "sources.h5", "table": folder / "sources.csv"},
    )


def test_sources_are_rendered_measured_drawn_and_tabled(dataset_path, tmp_path):
    render(dataset_path, tmp_path, build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1))
    with h5py.File(tmp_path / "sources.h5") as file:
        assert file["scores"].shape == file["kept"].shape == (3, 2, 16, 16)
        assert (file["kept"][:].sum(axis=(2, 3)) == 128).all()
        assert file.attrs["threshold"] == "50"
    with open(tmp_path / "sources.csv") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 3 * (1 + 2 * (3 + 1))
    costs = [row for row in found if row["measure"] == "relative_seconds"]
    assert {row["n"] for row in costs} == {str(REPEATS)}
    assert all(0 < float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in costs)
    rows = source_table(pd.read_csv(tmp_path / "sources.csv", dtype={"threshold": str}))
    assert [(row["source"], row["threshold"]) for row in rows] == [(s, t) for s in SOURCES for t in ("90", "50")]
    oracle = next(row for row in rows if (row["source"], row["threshold"]) == ("oracle", "50"))
    assert oracle["images"] == 12
    assert oracle["recall"]["pet"] > oracle["recall"]["background"]
    plot_sources(tmp_path / "sources.h5", [tmp_path / "sources.png"])
    with Image.open(tmp_path / "sources.png") as image:
        assert len(image.convert("RGB").getcolors(image.width * image.height)) > 20


def test_scores_that_are_not_numbers_are_refused(dataset_path, tmp_path):
    model = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1)
    for parameter in model.head.parameters():  # finite weights, whose logits are all infinite: inf - inf is no number
        torch.nn.init.constant_(parameter, 3e38)
    with pytest.raises(InputError, match="not finite"):
        render(dataset_path, tmp_path, model)
