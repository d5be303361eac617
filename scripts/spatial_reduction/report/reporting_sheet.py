"""The reporting sheet: what a reader must know to judge and repeat the experiment, filled in from files alone.

Its order is that of the reporting checklists of the field: CLAIM (Mongan, Moy, Kahn 2020, Radiology: Artificial
Intelligence 2(2) e200029: data, ground truth, partitions, model, training, evaluation) and the machine learning
reproducibility checklist (Pineau et al. 2021, JMLR 22(164): hyper-parameters, runs, measures, variation, computing).
What no file of a run holds (consent, licence, clinical use) is marked as left to the author.
"""

import csv
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2

from spatial_reduction.analysis.counts_file import recorded_machines
from spatial_reduction.analysis.measures import describe_determinism
from spatial_reduction.cluster.costs import read_benchmarks
from spatial_reduction.data.dataset_file import Dataset, describe
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say
from spatial_reduction.runtime.plain_text import as_markdown, counted

Settings = dict[str, Any]


def write_sheet(
    dataset: str | Path,
    history: str | Path,
    counts: Sequence[str | Path],
    template: str | Path,
    benchmarks: str | Path,
    config: Mapping[str, Any],
    arms: Mapping[str, Mapping[str, Any]],
    output: str | Path,
) -> None:
    """Write the sheet as Markdown.

    Args:
        history: learning curves of all chains, as `tables.collect_histories` writes them.
        counts: `counts.h5` of the chains; they record device and software of the evaluations.
        benchmarks: folder of Snakemake's benchmark files, by rule; what lies there at this moment is added up.
        config: the configuration.
        arms: {name: its sections model, training, reduction}, all overrides filled in.

    Raises:
        InputError: the data set or a file of counts is damaged.
    """
    with open(history, newline="", encoding="utf-8") as file:
        curves = list(csv.DictReader(file))
    common, own = divide_settings({name: flatten(arm) for name, arm in arms.items()})
    devices, software = recorded_machines(counts)
    devices |= {row["device"] for row in curves}
    options = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    page = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, **options)  # Markdown, not HTML
    page.filters |= {"as_markdown": as_markdown, "as_written": as_written, "counted": counted}
    text = page.from_string(Path(template).read_text(encoding="utf-8")).render(
        config=config,
        seeds=sorted({int(row["seed"]) for row in curves}),
        data=describe(dataset),
        digest=Dataset.open(dataset).digest,
        common=common,
        own=own,
        training=training_cost(curves),
        jobs=job_cost(benchmarks),
        guards=list_guards(config, arms, training_steps(curves)),
        devices=sorted(devices),
        precisions=sorted({row["precision"] for row in curves}),
        determinism=describe_determinism(config["training"]["deterministic"], devices),
        software=sorted(software | {f"{name} {version(name)}" for name in ("snakemake", "pandas", "scipy")}),
        python=platform.python_version(),
    )
    with written_whole(output) as partial:
        partial.write_text(text, encoding="utf-8")
    say(f"{output}: written")


def flatten(section: Mapping[str, Any], prefix: str = "") -> Settings:
    """Return {"training.schedule.factor": 0.5, ...} of nested mappings."""
    flat: Settings = {}
    for key, value in section.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def as_written(value: Any) -> str:
    """Return a setting as a configuration says it: null, false, [90, 70]."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{', '.join(map(as_written, value))}]" if isinstance(value, list | tuple) else str(value)


def divide_settings(arms: Mapping[str, Settings]) -> tuple[Settings, dict[str, Settings]]:
    """Return the settings that all arms share, and of each arm the others; together they are all."""
    first = next(iter(arms.values()))
    common = {key: value for key, value in first.items() if all(arm.get(key) == value for arm in arms.values())}
    return common, {name: {key: value for key, value in arm.items() if key not in common} for name, arm in arms.items()}


def training_steps(curves: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """Return the optimiser steps of each arm's longest chain, the shared first iteration included."""
    steps: dict[str, int] = defaultdict(int)
    for row in curves:
        steps[row["arm"]] = max(steps[row["arm"]], int(float(row["cumulative_steps"])))
    return dict(steps)


def training_cost(curves: Iterable[Mapping[str, str]]) -> dict[str, tuple[int, float]]:
    """Return {arm: (chains, seconds of training of all of them)}; an iteration that chains share counts in each."""
    seconds: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for row in curves:
        chain, value = (row["threshold"], row["seed"]), float(row["cumulative_seconds"])
        seconds[row["arm"]][chain] = max(seconds[row["arm"]].get(chain, 0.0), value)
    return {arm: (len(chains), sum(chains.values())) for arm, chains in seconds.items()}


def job_cost(benchmarks: str | Path) -> dict[str, tuple[int, float, float]]:
    """Return {rule: (jobs, seconds of all of them, largest peak of resident memory in MB)} of a benchmark folder.

    Snakemake cannot always measure the memory of a short job; NaN if it could for none.
    """
    rules = read_benchmarks(benchmarks).groupby("rule")
    table = rules.agg(jobs=("seconds", "size"), seconds=("seconds", "sum"), memory=("memory_mb", "max"))
    return {rule: (int(jobs), seconds, memory) for rule, jobs, seconds, memory in table.itertuples()}


def list_guards(
    config: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]], steps: Mapping[str, int]
) -> list[str]:
    """Return one sentence per check, saying whether it was active in this run."""
    dataset, primary = config["dataset"], config["evaluation"]["comparators"][0]
    bounded = [f"{c['name']} {c['share'][0]}-{c['share'][1]} %" for c in dataset["classes"] if "share" in c]
    growing = [name for name, arm in arms.items() if arm["reduction"]["allow_growth"]]
    unequal = [f"{name} ({count})" for name, count in steps.items() if count != steps[primary]]
    least = config["report"]["least_baseline_iou"]
    return [
        f"Share of each class in the training pixels: {', '.join(bounded) or 'not bounded'}.",
        f"Unusable pictures: {'stop the run' if dataset['on_error'] == 'stop' else 'left out and listed'}.",
        f"Growing kept shares: {'allowed for ' + ', '.join(growing) if growing else 'refused'}.",
        f"Same number of optimiser steps as {primary} ({steps[primary]}): "
        + (f"all arms but {', '.join(unequal)}." if unequal else "all arms."),
        f"Least mean IoU asked of {primary}: {'none' if least is None else least}.",
        "Exact kept count per image; stop at a loss or logit that is not finite: always active.",
        "The test split is never used for a schedule, the choice of an epoch or a training mask: by construction.",
    ]
