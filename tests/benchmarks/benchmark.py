"""Measure the method's steps beside the plain loop everyone writes: `make benchmark`, about a minute on 2 cores.

Both are run in turn (A B A B ...) in one process; a row is the ratio plain / ours, so above 1 is faster.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from spatial_reduction.masking import kept_count, shrink_mask
from spatial_reduction.model import build_model, to_input
from spatial_reduction.optimisation import Optimizer
from spatial_reduction.trainer import segmentation_loss

SIDE, BATCH, WIDTHS, IMAGES = 128, 8, [32, 64, 128], 64


def training_steps(steps: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Train on uint8 images kept in memory, channels last; plainly: float32 channels first, torch.optim."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, SIDE, SIDE, 3), generator=rng, dtype=torch.uint8)
    labels = torch.randint(0, 3, (IMAGES, SIDE, SIDE), generator=rng, dtype=torch.uint8)
    settings = {"optimizer": "adam", "momentum": 0.9, "learning_rate": 1e-4, "weight_decay": 0.0}
    ours = build_model(3, 3, {"name": "unet", "widths": WIDTHS}, seed=1)
    optimizer = Optimizer(ours.parameters(), settings)
    plain = build_model(3, 3, {"name": "unet", "widths": WIDTHS}, seed=1).to(memory_format=torch.contiguous_format)
    adam = torch.optim.Adam(plain.parameters(), lr=1e-4)

    def run_ours() -> None:
        for chosen in torch.arange(steps * BATCH).remainder(IMAGES).split(BATCH):
            optimizer.zero_grad()
            segmentation_loss(ours(to_input(images[chosen])), labels[chosen]).backward()
            optimizer.step()

    def run_plain() -> None:
        for chosen in torch.arange(steps * BATCH).remainder(IMAGES).split(BATCH):
            adam.zero_grad()
            batch = images[chosen].permute(0, 3, 1, 2).float().contiguous() / 255
            functional.cross_entropy(plain(batch), labels[chosen].long()).backward()
            adam.step()

    return run_ours, run_plain


def mask_steps() -> tuple[Callable[[], None], Callable[[], None]]:
    """Shrink the masks of a block of images; plainly: one image after the other with torch.kthvalue."""
    scores = np.random.default_rng(0).standard_normal((IMAGES, SIDE**2)).astype(np.float32)
    kept = np.ones_like(scores, dtype=bool)
    count = kept_count(SIDE**2, 90)

    def run_plain() -> None:
        for row in torch.from_numpy(scores):
            removed = int(len(row) * (1 - 0.9))
            _ = row >= torch.kthvalue(row, removed + 1).values

    return lambda: shrink_mask(kept, scores, count), run_plain


def seconds(run: Callable[[], None]) -> float:
    """Return the wall time of one call."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alternations", type=int, default=5, help="times that each pair is run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{platform.machine()}, {arguments.threads} threads, torch {torch.__version__}, {SIDE}x{SIDE}")
    print(f"{'step':<34}{'ours, images/s':>16}{'ratio: median':>16}{'min':>8}{'max':>8}   n = {arguments.alternations}")
    rows = {
        f"training, widths {WIDTHS}, batch {BATCH}": (training_steps(4), 4 * BATCH),
        "mask, top 90 %": (mask_steps(), IMAGES),
    }
    for name, ((ours, plain), images) in rows.items():
        ours(), plain()  # warm up
        pairs = [(seconds(ours), seconds(plain)) for _ in range(arguments.alternations)]
        ratios = [plain_time / our_time for our_time, plain_time in pairs]
        rate = images / statistics.median(our_time for our_time, _ in pairs)
        print(f"{name:<34}{rate:>16.0f}{statistics.median(ratios):>16.2f}{min(ratios):>8.2f}{max(ratios):>8.2f}")


if __name__ == "__main__":
    main()
