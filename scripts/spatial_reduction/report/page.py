"""The report page: verdict, figures, tables, data, cost and configuration in one file that needs no network."""

import base64
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from PIL import Image

from spatial_reduction.analysis.caveats import Evidence
from spatial_reduction.analysis.counts_file import recorded_machines
from spatial_reduction.analysis.looks import read_earlier_looks
from spatial_reduction.analysis.measures import (
    MEASURES,
    PROTOCOLS,
    describe_determinism,
    format_p,
    format_whole,
    measured_group,
)
from spatial_reduction.analysis.tables import CHAIN, last_test_rows, read_contrasts
from spatial_reduction.analysis.verdict import (
    describe_difference,
    describe_ladder,
    explain,
    reach_verdict,
    write_verdict,
)
from spatial_reduction.cluster.costs import profile_section
from spatial_reduction.data.dataset_file import describe
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say
from spatial_reduction.runtime.plain_text import printable

PACKAGES = ("snakemake", "pandas", "seaborn", "scipy")  # of the analysis; counts.h5 records those of the network
TABLES = ("metrics", "contrasts", "interactions", "references", "history", "costs", "slurm_jobs", "convergence")


def write_report(
    tables: Mapping[str, str | Path],
    sources: Sequence[str | Path],
    seen: str | Path,
    dataset: str | Path,
    counts: Sequence[str | Path],
    figures: Mapping[str | Path, str | Path],
    template: str | Path,
    config: Mapping[str, Any],
    method: Mapping[str, Any],
    outputs: Mapping[str, str | Path],
) -> None:
    """Write the page, and its verdict as Markdown.

    Args:
        tables: the CSV files of TABLES; `costs` and `slurm_jobs` say what the rules asked for and used, the second may
            have no rows.
        seen: with which seeds this was compared, see `looks.remember_comparison`.
        sources: the table that goes with the figure of that name, or none.
        counts: `counts.h5` of the chains; they record device and software.
        figures: PNG files, embedded in this order; of each the file of its caption, a paragraph of plain text.
        config: the whole configuration, shown as it is.
        method: the section `reduction` of the arm that the report is about.
        outputs: {"page", "verdict"}: files to write.
    """
    measured, curves, between, speed = (
        pd.read_csv(path, dtype={"threshold": str, "other_threshold": str})
        for path in (tables[name] for name in ("metrics", "history", "interactions", "convergence"))
    )
    compared, rules = read_contrasts(tables["contrasts"]), pd.read_csv(tables["costs"])
    final, data = last_test_rows(measured), describe(dataset)
    known = pd.read_csv(tables["references"])
    facts = (data["class_share"], data["parted_twins"], data["absent_classes"], read_earlier_looks(seen))
    evidence = Evidence(compared, between, known, final, curves, *facts)
    reached = reach_verdict(evidence, config)
    intact = final[final["protocol"] == "intact"]
    about, primary = config["report"]["method"], config["evaluation"]["comparators"][0]
    measure = config["report"]["measure"]
    group = measured_group(measure, config["report"]["class_group"])
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"p": format_p, "whole": format_whole, "printable": printable}
    environment.filters["difference"] = describe_difference
    text = environment.from_string(Path(template).read_text(encoding="utf-8")).render(
        config=config,
        seeds=sorted(measured["seed"].unique()),
        method=method,
        chains=len(counts),
        configuration=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
        verdict=reached,
        steps=describe_ladder(reached.ladder),
        sureness=[line.removeprefix("- ") for line in explain(reached, config)],
        measures=MEASURES,
        protocols=PROTOCOLS,
        figures={Path(path).stem: (_caption(words), _embedded(path), _inches(path)) for path, words in figures.items()},
        sources=[row for path in sources for row in source_table(pd.read_csv(path, dtype={"threshold": str}))],
        scores=score_table(intact, config["evaluation"]["measures"]),
        contrasts=compared[(compared["measure"] == measure) & (compared["class"] == group)].to_dict("records"),
        others=compared[(compared["arm"] == about) & (compared["comparator"] == primary)].to_dict("records"),
        convergence=convergence_table(speed),
        cost=cost_table(curves),
        costs=rules.to_dict("records"),
        profile=profile_section(rules),
        slurm_jobs=pd.read_csv(tables["slurm_jobs"]).to_dict("records"),
        data=data,
        software=sorted(recorded_machines(counts)[1] | {f"{name} {version(name)}" for name in PACKAGES}),
        devices=sorted(set(curves["device"])),
        precisions=sorted(set(curves["precision"])),
        determinism=describe_determinism(config["training"]["deterministic"], curves["device"]),
    )
    for name, content in (("page", text), ("verdict", write_verdict(reached, config))):
        with written_whole(outputs[name]) as partial:
            partial.write_text(content, encoding="utf-8")
    say(f"{outputs['page']}: written; open it in a browser")


def score_table(final: pd.DataFrame, measures: Sequence[str]) -> list[dict[str, Any]]:
    """Return, per arm and threshold, n and each measure's mean and standard deviation over seeds, as printed."""
    rows = []
    for (arm, threshold), runs in final.groupby(["arm", "threshold"], sort=False):
        cells = {}
        for (measure, group), values in runs.groupby(["measure", "class"], sort=False)["value"]:
            if measure in measures:
                scale = MEASURES[measure].scale
                cells[measure, group] = (scale * values.mean(), scale * values.std())
        rows.append({"arm": arm, "threshold": threshold, "n": runs["seed"].nunique(), "cells": cells})
    return rows


def source_table(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, per source and threshold, cost (median, lowest, highest), recall by class, pixels decided by index."""
    rows = []
    for source, found in table.groupby("source", sort=False):
        cost = found[found["measure"] == "relative_seconds"].iloc[0]
        for threshold, kept in found[found["measure"] != "relative_seconds"].groupby("threshold", sort=False):
            recall = kept[kept["measure"] == "recall"].set_index("class")["value"].to_dict()
            tied = kept[kept["measure"] == "decided_by_index"]["value"].iloc[0]
            rows.append(
                {"source": source, "threshold": threshold, "recall": recall, "tied": tied, "images": kept["n"].max()}
            )
            rows[-1] |= {"repeats": cost["n"], "cost": tuple(cost[["value", "low", "high"]])}
    return rows


def convergence_table(speed: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, per arm and threshold, n, area (per cent); per level the median steps, and those of the comparator."""
    rows = []
    for (arm, threshold), runs in speed.groupby(["arm", "threshold"], sort=False):
        levels = {
            level: (chains["steps"].median(), chains["comparator_steps"].median())
            for level, chains in runs.groupby("level")
        }
        area = 100 * runs.drop_duplicates("seed")["area"].mean()
        rows.append({"arm": arm, "threshold": threshold, "n": runs["seed"].nunique(), "area": area, "levels": levels})
    return rows


def cost_table(curves: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, per arm, steps, seconds (mean and range over the chains) and images per second of training."""
    chains = curves.groupby(CHAIN).agg(
        steps=("cumulative_steps", "max"), images=("cumulative_images", "max"), seconds=("cumulative_seconds", "max")
    )
    rows = []
    for arm, runs in chains.groupby("arm", sort=False):
        seconds = runs["seconds"]
        rows.append(
            {
                "arm": arm,
                "chains": len(runs),
                "steps": int(runs["steps"].max()),
                "seconds": seconds.mean(),
                "fastest": seconds.min(),
                "slowest": seconds.max(),
                "rate": runs["images"].sum() / seconds.sum(),
            }
        )
    return rows


def _caption(path: str | Path) -> str:
    return " ".join(Path(path).read_text(encoding="utf-8").split())


def _inches(path: str | Path) -> float:
    """Return the width at which a figure is shown, its own: the text of all figures then has the same size."""
    with Image.open(path) as image:
        return round(image.width / image.info["dpi"][0], 2)


def _embedded(path: str | Path) -> str:
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode()
