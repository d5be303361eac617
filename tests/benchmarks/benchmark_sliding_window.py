"""Measure how long a sliding-window network takes for an image beside U-Nets: two minutes on one CPU core.

    PYTHONPATH=scripts python tests/benchmarks/benchmark_sliding_window.py

All are run in turn (A B C A B C ...) in one process. Brute force, one pass per pixel, is measured on a strip of
pixels and extrapolated to the image.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch

from spatial_reduction.networks.model_file import build_model
from spatial_reduction.networks.window_sampling import cut_windows
from spatial_reduction.runtime.device import choose_device, device_name

SIDE, STRIP = 512, 128  # an EM slice of the ISBI 2012 challenge; pixels that brute force classifies
WINDOW = {"name": "sliding_window", "widths": [48, 48, 48, 48, 200], "window": 65}
NARROW = {"name": "unet", "widths": [16, 32, 64, 128, 256]}
PUBLISHED = {"name": "unet", "widths": [64, 128, 256, 512, 1024]}


def build_runs(device: torch.device, strip: int) -> dict[str, tuple[Callable[[], torch.Tensor], float]]:
    """Return {name: (a pass, its share of an image)}."""
    image = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    narrow, published, sliding = (
        build_model(1, 2, model, seed=1).to(device).eval() for model in (NARROW, PUBLISHED, WINDOW)
    )
    columns = torch.arange(strip, device=device) % SIDE

    def classify_strip() -> torch.Tensor:
        rows = torch.full_like(columns, SIDE // 2)
        windows = cut_windows(image, torch.zeros_like(columns), rows, columns, WINDOW["window"])
        return sliding.classify(windows)

    return {
        f"U-Net, widths {NARROW['widths']}": (lambda: narrow(image), 1),
        f"U-Net, widths {PUBLISHED['widths']}": (lambda: published(image), 1),
        "sliding window of 65, dense": (lambda: sliding(image), 1),
        f"sliding window of 65, pixel by pixel ({strip} px)": (classify_strip, strip / SIDE**2),
    }


@torch.inference_mode()
def seconds(run: Callable[[], torch.Tensor]) -> float:
    """Return the wall time of one pass; its result is read, so that a GPU has ended."""
    begun = time.perf_counter()
    run().sum().item()
    return time.perf_counter() - begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alternations", type=int, default=5, help="times that each is run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--strip", type=int, default=STRIP, help="pixels that brute force classifies")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    runs = build_runs(device, arguments.strip)
    for run, _ in runs.values():
        seconds(run)  # warm up
    rounds = [[seconds(run) / share for run, share in runs.values()] for _ in range(arguments.alternations)]
    print(f"{device_name(device)}, {platform.machine()}, torch {torch.__version__}, {SIDE}x{SIDE}, n = {len(rounds)}")
    print(
        f"{'seconds per image':<52}{'median':>10}{'min':>10}{'max':>10}{'/ the first: median':>21}{'min':>8}{'max':>8}"
    )
    for place, name in enumerate(runs):
        times, ratios = [row[place] for row in rounds], [row[place] / row[0] for row in rounds]
        row = "".join(f"{choose(times):>10.2f}" for choose in (statistics.median, min, max))
        print(f"{name:<52}{row}{statistics.median(ratios):>18.1f}{min(ratios):>10.1f}{max(ratios):>10.1f}")


if __name__ == "__main__":
    main()
