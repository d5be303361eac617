"""The targets that are asked beside a running snakemake: status and preview."""

import re

import pytest

from experiments import tiny, two_arms

BESIDE = ["--nolock"]


def test_status_and_preview_of_a_run_that_has_not_begun(snakemake):
    status = snakemake("status", *BESIDE, overrides=two_arms(seeds=[1, 2]))
    assert status.returncode == 0, status.stderr
    assert "saliency     50     waiting  waiting" in status.stdout
    assert "4 chains: 0 done, 0 running, 4 waiting, 0 failed" in status.stdout
    again = snakemake("status", *BESIDE, overrides=two_arms(seeds=[1, 2]))
    assert again.stdout == status.stdout
    preview = snakemake("preview", *BESIDE, overrides=two_arms(seeds=[1, 2]))
    assert preview.returncode != 0
    assert "error: no seed has ended in all arms yet; 4 chains have not" in preview.stderr


@pytest.mark.slow
def test_a_preview_is_the_report_of_the_finished_seeds_and_says_what_is_missing(snakemake, tmp_path):
    overrides = tiny(seeds=[1, 2])
    results = tmp_path / "results/demo"
    chains = ["single_pass/top_100", "equal_compute/top_100", "saliency/top_50"]
    done = snakemake(*(f"results/demo/{chain}/seed_1/metrics.csv" for chain in chains), overrides=overrides)
    assert done.returncode == 0, done.stderr
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}
    preview = snakemake("preview", *BESIDE, overrides=overrides)
    assert preview.returncode == 0, preview.stderr
    assert "preview: linking the files of seed" in preview.stderr
    assert re.search(r"preview: (\d+) of \1 jobs done", preview.stderr)
    page = (results / "preview/results/demo/report.html").read_text()
    assert "PARTIAL (1 of 2 seeds)" in page
    missing = (results / "preview/PARTIAL.txt").read_text()
    assert "saliency, top 50 %, seed 2: waiting, 0/2 iterations" in missing
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (results / "report.html").exists()
