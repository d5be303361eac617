"""docs/tables.md against the tables of the code; test_pipeline.py compares it with those of a whole run."""

import pytest

from experiments import documented_columns
from spatial_reduction.analysis import contrasts, racu
from spatial_reduction.analysis.measures import MEASURES
from spatial_reduction.cluster import slurm_accounting
from spatial_reduction.report import render_sources

WRITTEN = {
    "contrasts": contrasts.COLUMNS,
    "interactions": contrasts.INTERACTION,
    "racu": racu.COLUMNS,
    "slurm_jobs": slurm_accounting.COLUMNS,
    "sources": render_sources.COLUMNS,
    "predictions": ["image", "height", "width", "class", "share"],
}


@pytest.mark.parametrize("table", WRITTEN)
def test_the_page_of_tables_lists_the_columns_that_are_written(table):
    assert documented_columns()[table] == WRITTEN[table]


def test_the_units_of_the_rule_are_those_of_the_measures():
    assert {each.unit for each in MEASURES.values()} == {"points", "nats per pixel", "bits", "steps"}
