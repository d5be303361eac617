"""Tables, figures and report of the seeds for which all arms have ended, beside a run and never in its way."""

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from spatial_reduction.cluster.inner_snakemake import run_snakemake
from spatial_reduction.cluster.plugin_commands import Run
from spatial_reduction.cluster.status import Chain, Folders, state_of
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.log import say

# Files of a chain, of an iteration, of an arm's first iteration, that tables and figures are made of.
CHAIN_FILES = ("metrics.csv", "counts.h5", "examples.h5")
ITERATION_FILES = ("model.safetensors", "history.csv", "validation_counts.h5", "kept_pixels.csv", "mask.h5")
RECORDS = "records.json"
UNCOUNTED = """
Do not end the run, or add seeds, because of what this shows: such a look is not counted, and whoever looks often enough
finds an effect that is not there. To look and stop, plan it: seeds: {looks: [5, 8, 12]}.
"""
LISTED = 5  # chains that a refusal names
PROGRESS = re.compile(r"\d+ of \d+ jobs done.*")
FINISHED = ("dataset.h5", "intact_mask.h5", "sources.h5", "sources.csv")


def make_preview(
    config: Mapping[str, Any],
    chains: Iterable[Mapping[str, str | int]],
    folders: Mapping[str, str],
    command: Sequence[str],
    rules: Sequence[str],
) -> None:
    """Write `<results>/preview/`: the report of the finished seeds, and PARTIAL.txt, which says what is missing.

    The finished files are linked there, so the run may go on, and a second workflow works on them in that folder: it
    may run the rules of tables and figures, nothing else.

    Args:
        config: the whole configuration.
        chains, folders: as `show_status` takes them.
        command: snakemake and its Snakefile.
        rules: the rules that may run.

    Raises:
        InputError: no seed is finished in all arms, or the report cannot be made.
    """
    places = Folders(**{name: Path(path) for name, path in folders.items()})
    plan = [Chain(**each) for each in chains]
    states = {chain: state_of(chain, places, Run(places.slurm), {}) for chain in plan}
    missing = {chain: state for chain, state in states.items() if state.word != "done"}
    seeds = [seed for seed in config["seeds"] if not any(chain.seed == str(seed) for chain in missing)]
    said = [
        f"{c.arm}, top {c.threshold} %, seed {c.seed}: {s.word}, {s.ended}/{c.iterations} iterations {s.why}".rstrip()
        for c, s in missing.items()
    ]
    if not seeds:
        raise InputError(f"no seed has ended in all arms yet; {len(missing)} chains have not: {_listed(said)}")
    folder = places.results / "preview"
    say(f"preview: linking the files of seeds {', '.join(map(str, seeds))} into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    own_paths = {name: Path(config["pathvars"][name]) for name in ("results", "logs", "benchmarks")}
    inside = {name: Path(name) if path.is_absolute() else path for name, path in own_paths.items()}
    for chain in plan:
        if chain.seed in map(str, seeds):
            _link_chain(chain, places.results, folder / inside["results"])
    for name in FINISHED:
        _link(places.results / name, folder / inside["results"] / name)
    for path in places.benchmarks.rglob("*.tsv"):
        _link(path, folder / inside["benchmarks"] / path.relative_to(places.benchmarks))
    records = Path(".snakemake/metadata")  # what made each file; another workflow would not trust it without
    for path in records.rglob("*") if records.exists() else ():
        if path.is_file():
            _link(path, folder / path)
    if (places.results / RECORDS).exists():
        shutil.copy2(places.results / RECORDS, folder / inside["results"] / RECORDS)
    partial = f"{len(seeds)} of {len(config['seeds'])} seeds"
    title = f"PARTIAL ({partial}): {config['report']['title']}" if missing else config["report"]["title"]
    own = {
        **config,
        "seeds": seeds,
        "pathvars": {**config["pathvars"], **{name: str(path) for name, path in inside.items()}},
        "report": {**config["report"], "title": title[:300]},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(own))
    lines = [f"Made of {partial}: {', '.join(map(str, seeds))}."]
    lines += ["Not in it:", *said, UNCOUNTED.strip()] if said else []
    (folder / "PARTIAL.txt").write_text("\n".join([*lines, ""]))
    say("preview: making tables, figures and report of them; they are drawn one after the other, which takes minutes")
    _run(folder, command, rules)
    say("\n".join(lines))
    say(f"{folder / inside['results']}/report.html")


def _listed(said: Sequence[str]) -> str:
    more = [f"and {len(said) - LISTED} more"] if len(said) > LISTED else []
    return "; ".join([*said[:LISTED], *more])


def _link_chain(chain: Chain, results: Path, target: Path) -> None:
    own = Path(chain.arm, f"top_{chain.threshold}", f"seed_{chain.seed}")
    first = Path(chain.first, "top_100", f"seed_{chain.seed}", "iteration_1")
    for name in CHAIN_FILES:
        _link(results / own / name, target / own / name)
    for step in [first, *(own / f"iteration_{i}" for i in range(2, chain.iterations + 1))]:
        for name in ITERATION_FILES:
            _link(results / step / name, target / step / name)


def _link(source: Path, target: Path) -> None:
    if source.exists() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)


def _run(folder: Path, command: Sequence[str], rules: Sequence[str]) -> None:
    command = [
        *command,
        "--directory",
        str(folder),
        "--configfile",
        str((folder / "config.yaml").absolute()),
        "--cores",
        "1",
    ]
    command += ["--rerun-triggers", "mtime", "--allowed-rules", *rules]

    def tell(line: str) -> None:
        if PROGRESS.fullmatch(line.strip()):
            say(f"preview: {line.strip()}")

    status, told = run_snakemake(command, tell)
    if status:
        raise InputError(f"the preview in {folder} could not be made: {told.strip()[-2000:]}")
