import pandas as pd
import pytest

from spatial_reduction.analysis.tables import (
    collect_histories,
    collect_kept_pixels,
    collect_metrics,
    last_test_rows,
    read_contrasts,
    removed_shares,
)
from spatial_reduction.runtime.errors import InputError


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


def test_a_table_without_kept_pixels_has_its_columns(tmp_path):
    collect_kept_pixels([], [], tmp_path / "kept_pixels.csv")
    assert (tmp_path / "kept_pixels.csv").read_text() == "arm,threshold,seed,iteration,measure,class,value\n"


def test_a_table_that_was_cut_short_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("arm,threshold,seed,value\nx,92.5,1,0.")
    with pytest.raises(InputError, match=r"a\.csv: a table that was cut short"):
        collect_metrics([tmp_path / "a.csv"], tmp_path / "all.csv")


def test_the_last_rows_are_those_of_each_chains_last_iteration_on_test_images():
    rows = [("a", "90", 1, i, split) for i in (1, 2, 3) for split in ("validation", "test")]
    rows += [("b", "100", 1, 1, "test")]
    metrics = pd.DataFrame(rows, columns=["arm", "threshold", "seed", "iteration", "split"])
    assert last_test_rows(metrics)[["arm", "iteration", "split"]].values.tolist() == [
        ["a", 3, "test"],
        ["b", 1, "test"],
    ]


def test_what_is_removed_is_what_the_last_iteration_lacks():
    rows = [("a", "90", 2, "kept_share", 90.0), ("a", "90", 3, "kept_share", 81.0), ("a", "90", 3, "recall", 5.0)]
    rows += [("b", "80", 3, "kept_share", 100.0), ("b", "80", 2, "kept_share", 80.0)]  # ends on intact images
    kept = pd.DataFrame(rows, columns=["arm", "threshold", "iteration", "measure", "value"])
    assert removed_shares(kept) == {("a", "90"): 19.0}


def test_contrasts_are_read_with_thresholds_as_text_and_empty_decisions(tmp_path):
    (tmp_path / "contrasts.csv").write_text(
        "threshold,comparator_threshold,decision,less_to_lose,p_holm\n90,100,supported,True,0.01\n70,100,,False,\n"
    )
    found = read_contrasts(tmp_path / "contrasts.csv")
    assert found["threshold"].tolist() == ["90", "70"]
    assert found["comparator_threshold"].tolist() == ["100", "100"]
    assert found["decision"].tolist() == ["supported", ""]
    assert found["less_to_lose"].tolist() == [True, False]
    assert found["p_holm"].isna().tolist() == [False, True]
