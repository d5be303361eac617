"""Measure the workflow beside what it is compared with: `make benchmark`, about ten minutes on 2 cores.

    PYTHONPATH=scripts python tests/benchmarks/benchmark.py [--alternations 5] [--rows training masks] [--demo]

What is compared runs in turn; each line is the median ratio with its range. REAL_DATA=folder takes the pictures of
`folder/oxford-iiit-pet` instead of drawn ones.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import describe
from material import collect_pictures
from measuring import Row, print_rows
from rows_files import FEWER, TIMES, measure_layouts, measure_memory, measure_preparation
from rows_masks import measure_masks
from rows_network import measure_saliency, measure_side_by_side, measure_streaming, measure_training
from rows_start import measure_demo, measure_start


def list_rows(folder: Path, threads: int, n: int, every_script: bool) -> dict[str, Callable[[], list[Row]]]:
    """Return what can be measured, by name; pictures are drawn at once."""
    pictures = collect_pictures(folder, TIMES * FEWER)
    return {
        "training": lambda: measure_training(folder, pictures, 48, threads, n),
        "streaming": lambda: measure_streaming(folder, pictures, 48, threads, n),
        "saliency": lambda: measure_saliency(folder, pictures, 70, threads, n),
        "masks": lambda: measure_masks(n),
        "preparation": lambda: measure_preparation(folder, pictures, 192, n),
        "memory": lambda: measure_memory(folder, pictures, n),
        "layouts": lambda: measure_layouts(folder, pictures, 512, n),
        "side_by_side": lambda: measure_side_by_side(folder, pictures, 26, n),
        "start": lambda: measure_start(n, every_script),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alternations", type=int, default=5, help="times that each pair is run")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of what is not said otherwise")
    parser.add_argument("--rows", nargs="*", help="names of what to measure, all if none is given")
    parser.add_argument("--demo", action="store_true", help="run the whole demo once with 1 core and once with all")
    parser.add_argument("--every-script", action="store_true", help="start every script, not six of them")
    arguments = parser.parse_args()
    print(describe(arguments.threads), flush=True)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = list_rows(Path(folder), arguments.threads, arguments.alternations, arguments.every_script)
        chosen = [measure for name, measure in rows.items() if not arguments.rows or name in arguments.rows]
        if arguments.demo:
            chosen.append(lambda: measure_demo(arguments.threads, 1))
        print_rows(row for measure in chosen for row in measure())
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
