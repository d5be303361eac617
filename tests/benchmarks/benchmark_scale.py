"""Measure seconds and memory of every stage against images, side and widths, and of a plan against its number of jobs.

    PYTHONPATH=scripts python tests/benchmarks/benchmark_scale.py [--plot scale.png]

About five minutes on 2 cores. Every measurement is one fresh process (n = 1): the slopes over a factor of 16 are what
it is for. Prints a table; `--plot` saves one figure.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import seaborn as sns
import yaml
from machine import describe
from material import ROOT, Stage, collect_pictures
from measuring import run_fresh

IMAGES, SIDE, WIDTHS = 128, 64, (8, 16, 32)
SHARES = (10, 40)  # per cent for validation and test
SWEEPS = {"images": (256, 1024, 4096), "side, pixels": (32, 64, 128, 256), "first width": (8, 16, 32)}
SEEDS = (8, 32, 120)  # of the demo, 14 jobs each
STAGES = ("prepare", "saliency", "mask", "train", "evaluate")
# Runs a command from a process that is itself small: a child's ru_maxrss begins with its parent's memory.
WATCH = """
import resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], check=True)
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)
"""
WRITE_FIRST_FILES = "stages:write_first_files"


def measure_stages(folder: Path, pictures: Path) -> Iterator[dict]:
    """Yield a row for every stage and size."""
    for axis, sizes in SWEEPS.items():
        for size in sizes:
            images = size if axis == "images" else IMAGES
            side = size if axis == "side, pixels" else SIDE
            widths = tuple(width * size // 8 for width in WIDTHS) if axis == "first width" else WIDTHS
            stage = Stage(folder / f"{axis[:5]}_{size}", pictures, widths)
            stage.folder.mkdir()
            functions = stage.functions(stage.preparation(images, side, os.cpu_count() or 1, SHARES))
            for name in STAGES:
                seconds, peak = run_fresh(*functions[name])
                yield {"axis": axis, "size": size, "stage": name, "seconds": seconds, "memory, MiB": peak / 2**20}
                if name == "prepare":
                    run_fresh(WRITE_FIRST_FILES, {"stage": stage})


def measure_plans() -> Iterator[dict]:
    """Yield a row for every size of the grid: a dry run of the demo with more seeds."""
    for seeds in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            overrides = Path(folder) / "seeds.yaml"
            overrides.write_text(yaml.safe_dump({"seeds": list(range(1, seeds + 1))}))
            command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", folder]
            command += ["-n", "--quiet", "rules", "--cores", "1", "--configfile", str(overrides)]
            planned = subprocess.run(
                [sys.executable, "-c", WATCH, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
            )
            lines = planned.stdout.decode().splitlines()
            jobs = max(int(line.split()[1]) for line in lines if line.startswith("total "))
            seconds, peak = map(float, lines[-1].split())
            yield {"axis": "jobs", "size": jobs, "stage": "plan", "seconds": seconds, "memory, MiB": peak / 1024}


def print_slopes(table: pd.DataFrame) -> None:
    """Print how each stage grows per image, and a plan per job, between the smallest and the largest size."""
    for axis, unit in (("images", "image"), ("jobs", "job")):
        for stage, rows in table[table["axis"] == axis].groupby("stage", sort=False):
            first, last = rows.iloc[0], rows.iloc[-1]
            more = last["size"] - first["size"]
            seconds = 1000 * (last["seconds"] - first["seconds"]) / more
            kibibytes = 1024 * (last["memory, MiB"] - first["memory, MiB"]) / more
            print(f"{stage}: {seconds:.2f} ms and {kibibytes:.1f} KiB more per {unit}")


def draw(table: pd.DataFrame, path: Path) -> None:
    """Save seconds and memory against every size, on logarithmic axes."""
    long = table.melt(["axis", "size", "stage"], var_name="quantity", value_name="value")
    grid = sns.relplot(
        long,
        x="size",
        y="value",
        hue="stage",
        style="stage",
        col="axis",
        row="quantity",
        kind="line",
        markers=True,
        dashes=False,
        height=2.6,
        aspect=1.15,
        facet_kws={"sharex": "col", "sharey": "row", "margin_titles": True},
    )
    grid.set(xscale="log", yscale="log").set_titles(row_template="", col_template="")
    for (quantity, axis), panel in grid.axes_dict.items():
        panel.set_xlabel(axis)
        panel.set_ylabel(quantity if panel.get_subplotspec().is_first_col() else "")
        sizes = sorted(set(table.loc[table["axis"] == axis, "size"]))
        panel.set_xticks(sizes)
        panel.set_xticks([], minor=True)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.grid(which="major", linewidth=0.3)
    grid.savefig(path, dpi=150)


def main() -> None:
    """Print the table; save the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="figure to save")
    parser.add_argument("--table", type=Path, help="CSV to save")
    arguments = parser.parse_args()
    print(describe(os.cpu_count() or 1), flush=True)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        pictures = collect_pictures(Path(folder), max(SWEEPS["images"]))
        table = pd.DataFrame([*measure_plans(), *measure_stages(Path(folder), pictures)])
    fixed = f"{IMAGES} images of {SIDE}x{SIDE}, widths {WIDTHS} where not varied; training is one epoch"
    print(f"{fixed}\n\n| varied | size | stage | seconds | memory, MiB |\n|---|---|---|---|---|")
    for row in table.itertuples(index=False):
        print(f"| {row[0]} | {row[1]} | {row[2]} | {row[3]:.2f} | {row[4]:.0f} |")
    print_slopes(table)
    if arguments.table:
        table.to_csv(arguments.table, index=False)
    if arguments.plot:
        draw(table, arguments.plot)
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
