import math

import pandas as pd
import pytest
import yaml

from spatial_reduction.cluster.costs import (
    costs_per_rule,
    profile_section,
    read_benchmarks,
    suggest_memory,
    suggest_runtime,
    summarise_costs,
)

# As Snakemake 9.27 writes them, with --benchmark-extended and without.
EXTENDED = (
    "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\tjobid\trule_name\twildcards"
    "\tparams\tthreads\tcpu_usage\tresources\tinput_size_mb\n"
)
TRAINED = (
    "{seconds}\t0:00:08\t{memory}\t3160.85\t346.42\t462.09\t0.00\t0.02\t35.74\t{cpu}\t9\ttrain_model\t{{'seed': '1'}}"
    "\t{{'model': {{'widths': [2, 4]}}}}\t4\t300.46\t{{'tmpdir': '/tmp', 'mem_mb': {asked}, 'mem': '8 GB', "
    "'runtime': 240, 'gpu': 1, '_cores': 4}}\t{{'results/dataset.h5': 0.04}}\n"
)
PLAIN = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def benchmarks(tmp_path):
    files = {
        "train_model/saliency/top_50/seed_1.tsv": EXTENDED
        + TRAINED.format(seconds=100, memory=500, cpu=150, asked=8000),
        "train_model/saliency/top_50/seed_2.tsv": EXTENDED
        + TRAINED.format(seconds=300, memory=1000, cpu=450, asked=16000),
        "train_single_pass/seed_1.tsv": PLAIN + "60.0\t0:01:00\t400.00\t1\t1\t1\t0\t0\t90\t54.0\n",
        "write_intact_mask.tsv": PLAIN + "0.2\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n",
        "plot_cost.tsv": "",
        "plot_iterations.tsv": PLAIN + "NA\t-\n",
    }
    for name, text in files.items():
        path = tmp_path / "benchmarks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "benchmarks"


@pytest.fixture
def history():
    return pd.DataFrame({"iteration": [1, 1, 2, 3], "gpu_memory_mb": [900, 1100, 1300, 1200]})


@pytest.fixture
def table(benchmarks, history):
    return costs_per_rule(read_benchmarks(benchmarks), history).set_index("rule")


def test_every_job_is_read_and_cut_files_are_left_out(benchmarks):
    jobs = read_benchmarks(benchmarks)
    assert list(jobs["rule"]) == ["train_model", "train_model", "train_single_pass", "write_intact_mask"]
    assert jobs["memory_requested_mb"].tolist()[:2] == [8000, 16000]
    assert jobs["runtime_requested_s"].tolist()[:2] == [240 * 60, 240 * 60]
    assert jobs.loc[jobs["rule"] == "write_intact_mask"].drop(columns=["rule", "seconds"]).isna().all(axis=None)


def test_a_rule_is_one_row_and_the_dearest_comes_first(table):
    assert list(table.index) == ["train_model", "train_single_pass", "write_intact_mask"]
    row = table.loc["train_model"]
    assert (row["jobs"], row["seconds_median"], row["seconds_max"]) == (2, 200, 300)
    assert (row["memory_max_mb"], row["memory_requested_mb"], row["threads"]) == (1000, 16000, 4)
    assert row["load_mean"] == (150 + 450) / (100 + 300)


def test_a_run_without_extended_benchmarks_lacks_the_requests_only(table):
    row = table.loc["train_single_pass"]
    assert (row["memory_max_mb"], row["load_mean"], row["suggested_mem_mb"]) == (400, 0.9, 900)
    assert row[["runtime_requested_s", "memory_requested_mb", "threads"]].isna().all()


def test_gpu_memory_is_that_of_the_learning_curves(table, benchmarks, history):
    expected = {"train_model": 1300, "train_single_pass": 1100}
    assert table["gpu_memory_max_mb"].dropna().to_dict() == expected
    old = costs_per_rule(read_benchmarks(benchmarks), history[["iteration"]])
    assert old["gpu_memory_max_mb"].isna().all()
    assert list(old.columns) == ["rule", *table.columns]


@pytest.mark.parametrize(("peak", "asked"), [(600, 1100), (1000, 1600), (1000.1, 1700), (1, 400)])
def test_memory_to_ask_for(peak, asked):
    # 600 x 1.3 = 780 -> 800, and 300 for Snakemake
    assert suggest_memory(pd.Series([peak])).tolist() == [asked]


@pytest.mark.parametrize(("slowest", "asked"), [(1, 10), (300, 10), (301, 11), (3600, 120)])
def test_runtime_to_ask_for(slowest, asked):
    assert suggest_runtime(pd.Series([slowest])).tolist() == [asked]


def test_the_suggestion_is_a_section_of_a_profile(table):
    section = yaml.safe_load(profile_section(table.reset_index()))
    assert section == {
        "set-resources": {
            "train_model": {"mem_mb": "1600 * attempt", "runtime": 10},
            "train_single_pass": {"mem_mb": "900 * attempt", "runtime": 10},
        }
    }


@pytest.mark.parametrize("is_there", [True, False])
def test_both_tables_are_written_without_slurm_and_without_benchmarks(
    is_there, benchmarks, history, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", "")
    history.to_csv(tmp_path / "history.csv", index=False)
    folder = benchmarks if is_there else tmp_path / "nothing"
    summarise_costs(folder, tmp_path / "history.csv", tmp_path / "costs.csv", tmp_path / "slurm_jobs.csv")
    costs = pd.read_csv(tmp_path / "costs.csv")
    assert len(costs) == (3 if is_there else 0)
    assert profile_section(costs).startswith("set-resources:")
    assert pd.read_csv(tmp_path / "slurm_jobs.csv").empty
    assert is_there is False or math.isnan(costs["memory_max_mb"].iloc[-1])
