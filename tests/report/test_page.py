import re

import pandas as pd
import pytest
import yaml

from experiments import ROOT
from spatial_reduction.analysis.measures import MEASURES, describe_determinism, format_p
from spatial_reduction.analysis.tables import last_test_rows
from spatial_reduction.metrics.objects import OBJECT_MEASURES
from spatial_reduction.report.page import convergence_table, cost_table, score_table


def test_scores_are_of_the_last_iteration_on_the_test_split():
    last, others = [(1, 2, "test", 0.4), (2, 2, "test", 0.6)], [(2, 1, "test", 0.9), (1, 2, "validation", 0.8)]
    rows = [("a", "90", seed, i, split, "intact", "mean_iou", "all", value) for seed, i, split, value in last + others]
    columns = ["arm", "threshold", "seed", "iteration", "split", "protocol", "measure", "class", "value"]
    final = last_test_rows(pd.DataFrame(rows, columns=columns))
    row = score_table(final, ["mean_iou"])[0]
    mean, deviation = row["cells"]["mean_iou", "all"]
    assert (row["n"], mean) == (2, pytest.approx(50))
    assert deviation == pytest.approx(14.142, abs=1e-3)


def test_cost_is_of_whole_chains():
    curves = pd.DataFrame(
        {
            "arm": "a",
            "threshold": "90",
            "seed": [1, 1, 2, 2],
            "cumulative_steps": [10, 20, 10, 20],
            "cumulative_images": [80, 160, 80, 160],
            "cumulative_seconds": [1.0, 2.0, 3.0, 6.0],
        }
    )
    row = cost_table(curves)[0]
    assert (row["chains"], row["steps"], row["seconds"], row["fastest"], row["slowest"]) == (2, 20, 4.0, 2.0, 6.0)
    assert row["rate"] == pytest.approx(320 / 8)


def test_convergence_is_told_beside_the_comparators_steps():
    rows = [("a", "90", seed, level, 10.0 * seed, 5.0 * seed, 0.5) for seed in (1, 2, 3) for level in (90, 95)]
    columns = ["arm", "threshold", "seed", "level", "steps", "comparator_steps", "area"]
    row = convergence_table(pd.DataFrame(rows, columns=columns))[0]
    assert (row["n"], row["area"], row["levels"]) == (3, 50, {90: (20, 10), 95: (20, 10)})


def test_every_measure_that_can_be_configured_has_words():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    measures = schema["properties"]["evaluation"]["properties"]["measures"]["items"]["enum"]
    assert set(measures) | {"validation_area", "validation_area_pixels", "steps_to_95"} == set(MEASURES)
    named = schema["$defs"]["object_measure"]["enum"]
    assert named == list(OBJECT_MEASURES) == [name for name, measure in MEASURES.items() if measure.is_of_objects]
    assert set(schema["$defs"]["measure"]["enum"]) <= set(measures)


def test_p_values_read_as_in_print():
    assert [format_p(value) for value in (0.0004, 0.05, 1.0, float("nan"))] == [
        "< .001",
        ".050",
        "1.000",
        "not defined",
    ]
    assert not re.search(r"^0\.", format_p(0.3))


def test_determinism_is_told_with_the_devices():
    cpu, gpu = "cpu (x86_64, 2 threads)", "NVIDIA H100"
    assert describe_determinism(False, [cpu]).startswith("not needed on a CPU: the same bits again")
    assert describe_determinism(False, [cpu, gpu]).startswith("not asked for")
    assert describe_determinism(True, [gpu, gpu]).startswith("deterministic algorithms")
    assert describe_determinism(True, [gpu, cpu]).endswith("ran on NVIDIA H100")
    assert describe_determinism(True, [cpu]).endswith("ran on the CPU alone")


def test_the_glossary_is_that_of_the_documentation_and_every_link_leads_somewhere():
    page = (ROOT / "workflow/report/report.html.j2").read_text()
    shown = re.findall(r"<dt>(.+)</dt><dd>(.+)</dd>", page.partition('{{ heading("glossary") }}')[2])
    words = (ROOT / "docs/architecture.md").read_text().partition("## Words")[2].replace("`", "")
    assert shown == re.findall(r"^\| (.+?) \| (.+) \|$", words, re.MULTILINE)[1:]
    sections = re.findall(r'^  "(\w+)": ', page, re.MULTILINE)
    assert sections == re.findall(r'heading\("(\w+)"\)', page)
