"""Measure training on a GPU: `make benchmark-gpu`, under 8 minutes. Needs requirements.txt, Snakemake apart.

Prints, each line as soon as it is measured: the device and its measured peaks; images/s in whole epochs at three batch
sizes, with CUDA graphs and without, beside the plain loop (which keeps its workers) and one with its pictures in
memory, and the share of the roofline; the same of a U-Net on timm's encoder; the seconds of a whole chain of the
reference run; how far the numbers of the fast training are from those of one launched kernel by kernel in float32;
several at once in their steady state, by themselves and under NVIDIA's multi-process service (MPS), if it is there.
`--small` runs all of it in minutes on a CPU, to see that it works; its figures mean nothing.
"""

import argparse
import csv
import datetime
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from material import CONFIG
from measuring import spread
from plain_loop import InMemoryLoader, UNet, build_loader, train_epoch
from roofline import Convolutions, measure_peaks, seconds

from spatial_reduction.data.layouts import list_oxford_pet
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.data.synthetic_pets import draw_synthetic_pets
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.ranking import Schedule
from spatial_reduction.masks.score_pixels import Scoring, compute_saliency
from spatial_reduction.masks.shrink import shrink_masks, write_intact_mask
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.runtime.device import Machine, device_name
from spatial_reduction.training.batches import Images
from spatial_reduction.training.cuda_graph import GraphRecorder, ReplayedSteps
from spatial_reduction.training.epoch import Trainer, choose_precision, has_batch_statistics
from spatial_reduction.training.image_store import InMemory
from spatial_reduction.training.optimizer import Optimizer
from spatial_reduction.training.train import TrainingFiles, train_model

TRAINING = {
    "epochs": 60,
    "batch_size": 8,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "momentum": 0.9,
    "schedule": {"kind": "plateau", "monitor": "training", "factor": 0.5, "patience": 5},
    "keep": "last",
    "augmentation": [],
    "precision": "auto",
    "cuda_graphs": True,
}
CLASSES = [{"name": "border", "labels": [3]}, {"name": "pet", "labels": [1]}, {"name": "background", "labels": [2]}]
SPLIT = {"method": "random", "validation_share": 10, "test_share": 10, "seed": 0}
DATASET = {**CONFIG["dataset"], "classes": CLASSES, "split": {**CONFIG["dataset"]["split"], **SPLIT}}


@dataclass(frozen=True)
class Size:
    """How much is measured: the reference run's own figures, or few of everything."""

    images: int = 1000
    side: int = 128
    widths: tuple[int, ...] = (32, 64, 128)
    iterations: int = 7
    epochs: int = 60
    batches: tuple[int, ...] = (8, 32, 128)
    alternations: int = 5
    seeds: int = 3
    accuracy_epochs: int = 20
    at_once: tuple[int, ...] = (1, 2, 4)
    steady_seconds: float = 8

    @property
    def trained(self) -> int:
        """Images of an epoch: 80 % train."""
        return self.images * 8 // 10

    @property
    def model(self) -> dict[str, object]:
        """The section `model` of the configuration."""
        return {"name": "unet", "widths": list(self.widths)}


SMALL = Size(
    images=40,
    side=32,
    widths=(4, 8),
    iterations=2,
    epochs=2,
    batches=(4,),
    seeds=2,
    accuracy_epochs=2,
    at_once=(1, 2),
    steady_seconds=1,
)


def prepare(folder: Path, size: Size) -> None:
    """Draw pets and prepare them: 80 % train, 10 % validation, 10 % test, as the reference run splits."""
    draw_synthetic_pets(folder / "pets", images=size.images, side=size.side, test_share=10, seed=0)
    prepare_dataset(folder / "pets", folder / "dataset.h5", {**DATASET, "image_size": size.side}, threads=8)
    write_intact_mask(folder / "dataset.h5", folder / "intact_mask.h5")


def random_images(count: int, side: int, device: torch.device) -> Images:
    """Return noise on the device: what an image shows does not change how long it takes."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, side, side, 3), generator=rng, dtype=torch.uint8)
    labels = torch.randint(0, 3, (count, side, side), generator=rng, dtype=torch.uint8)
    return Images(InMemory((pixels.to(device), labels.to(device))), device)


def build_trainer(
    size: Size, batch: int, device: torch.device, is_recorded: bool, model: Mapping[str, object] | None = None
) -> Trainer:
    """Return a training of our own, of the U-Net or of another network."""
    network = build_model(3, 3, model or size.model, seed=1).to(device)
    images = random_images(size.trained, size.side, device)
    return Trainer(
        network=network,
        optimizer=Optimizer(network.parameters(), TRAINING),
        train=images,
        validation=images,
        augment=None,
        precision=choose_precision("auto", device),
        batch_size=batch,
        block=32,
        classes=3,
        seed=1,
        is_filled=device.type == "cuda" and not has_batch_statistics(network),
        replay=ReplayedSteps(GraphRecorder(device)) if is_recorded and device.type == "cuda" else None,
    )


def train_once(trainer: Trainer) -> int:
    """Take a step with every batch; return the number of images."""
    steps = -(-len(trainer.train) // trainer.batch_size)
    trainer.take_steps(torch.arange(len(trainer.train)), epoch=1, rates=[TRAINING["learning_rate"]] * steps)
    return len(trainer.train)


def alternate(runs: Mapping[str, Callable[[], int]], times: int, device: torch.device) -> dict[str, list[float]]:
    """Call each run in turn, that often and once before; return the images/s of each, by what it returns."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(times + 1):
        for name, run in runs.items():
            images: list[int] = []
            spent = seconds(lambda run=run, images=images: images.append(run()), device)
            if turn:
                rates[name].append(images[0] / spent)
    return rates


def build_plain(pictures: Path, size: Size, batch: int, device: torch.device, is_in_memory: bool) -> Callable[[], int]:
    """Return an epoch of the plain loop; it returns the number of images."""
    torch.manual_seed(1)
    network = UNet(size.widths).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=TRAINING["learning_rate"])
    pairs = [(pair.image, pair.labels) for pair in list_oxford_pet(pictures)[: size.trained]]
    loader = InMemoryLoader(pairs, size.side, batch, device) if is_in_memory else build_loader(pairs, size.side, batch)

    def run() -> int:
        train_epoch(network, optimizer, loader)
        return len(pairs)

    return run


def measure_speed(folder: Path, size: Size, device: torch.device) -> None:
    """Print images/s of our training, recorded and not, and of the plain loop; and the share of the roofline."""
    precision = choose_precision("auto", device)
    peaks = measure_peaks(device, getattr(torch, precision))
    print(f"peaks: {peaks.flops / 1e12:.1f} TFLOP/s in {precision}, copy {peaks.bandwidth / 1e12:.2f} TB/s\n")
    for batch in size.batches:
        trainers = {name: build_trainer(size, batch, device, name == "recorded") for name in ("recorded", "launched")}
        runs = {name: partial(train_once, trainer) for name, trainer in trainers.items()}
        runs["plain"] = build_plain(folder / "pets", size, batch, device, is_in_memory=False)
        runs["plain, in memory"] = build_plain(folder / "pets", size, batch, device, is_in_memory=True)
        rates = alternate(runs, size.alternations, device)
        one = trainers["launched"]
        with Convolutions() as convolutions:
            one.take_step(*next(one.train.batches(torch.arange(batch), batch)))
        rate = statistics.median(rates["recorded"])
        ratios, of_memory = (
            [ours / theirs for ours, theirs in zip(rates["recorded"], rates[name], strict=True)]
            for name in ("plain", "plain, in memory")
        )
        print(
            f"batch {batch}, n = {size.alternations}: recorded {spread(rates['recorded'], 0)} images/s, launched "
            f"{spread(rates['launched'], 0)}, plain loop {spread(rates['plain'], 0)}, in memory "
            f"{spread(rates['plain, in memory'], 0)}\n"
            f"  recorded / plain {spread(ratios)}, / plain in memory {spread(of_memory)}\n"
            f"  {rate / batch * convolutions.flops / 1e12:.2f} TFLOP/s, "
            f"{100 * rate / batch * convolutions.flops / peaks.flops:.1f} % of the peak, "
            f"{100 * rate / batch * convolutions.least_seconds(peaks):.1f} % of the roofline of the convolutions",
            flush=True,
        )


def measure_encoder(size: Size, device: torch.device) -> None:
    """Print images/s of a U-Net on timm's encoder, recorded and not."""
    model = {"name": "encoder_unet", "encoder": "tf_efficientnet_lite0", "weights": None, "freeze_normalisation": False}
    model["widths"] = [16, 32, 64, 128, 256]
    large = replace(size, side=max(64, size.side))  # the least that five resolutions leave more than one feature of
    for batch in size.batches:
        trainers = {
            name: build_trainer(large, batch, device, name == "recorded", model) for name in ("recorded", "launched")
        }
        rates = alternate(
            {name: partial(train_once, each) for name, each in trainers.items()}, size.alternations, device
        )
        print(
            f"encoder_unet, batch {batch}, n = {size.alternations}: recorded {spread(rates['recorded'], 0)} images/s, "
            f"launched {spread(rates['launched'], 0)}",
            flush=True,
        )


def train(folder: Path, name: str, size: Size, device: str, **changes: object) -> dict[str, float]:
    """Train in a folder; return the last row of the history."""
    files = {"mask": folder / "intact_mask.h5", "history": folder / f"{name}.csv"}
    files |= {key: changes.pop(key) for key in ("mask", "previous_model", "previous_history") if key in changes}
    outputs = {"model": folder / f"{name}.safetensors", "checkpoint": folder / f"{name}.checkpoint"}
    outputs["validation_counts"] = folder / f"{name}.h5"
    settings = {
        "files": TrainingFiles(folder / "dataset.h5", **files, **outputs),
        "model": size.model,
        "training": {**TRAINING, "epochs": size.epochs, "device": device},
        "removal": Removal(),
        "start": "warm",
        "seed": 1,
        "machine": Machine(device, torch.get_num_threads()),
    }
    train_model(**(settings | changes))
    with open(folder / f"{name}.csv", newline="") as file:
        return {
            key: float(value)
            for key, value in list(csv.DictReader(file))[-1].items()
            if key not in ("device", "precision")
        }


def measure_chain(folder: Path, size: Size, device: str) -> None:
    """Print the seconds of a whole chain of config/as_coded.yaml: trainings, saliency, masks, with all their files."""
    spent = {"training": 0.0, "saliency": 0.0, "masks": 0.0}
    mask, model = folder / "intact_mask.h5", None
    for iteration in range(1, size.iterations + 1):
        if model:
            begun = time.perf_counter()
            scores, mask = folder / "saliency.h5", folder / f"mask_{iteration}.h5"
            scoring = Scoring("probability", ["pet", "background"], saliency_images="intact")
            machine = Machine(device, torch.get_num_threads())
            compute_saliency(
                folder / "dataset.h5", model, folder / "intact_mask.h5", scores, scoring, Removal(), machine,
                seed=1, iteration=iteration,
            )  # fmt: skip
            spent["saliency"] += time.perf_counter() - begun
            begun = time.perf_counter()
            shrink_masks(
                folder / "dataset.h5", scores, folder / "intact_mask.h5", model, mask, folder / "kept.csv",
                Schedule("additive", 5, "90"), iteration,
            )  # fmt: skip
            spent["masks"] += time.perf_counter() - begun
        begun = time.perf_counter()
        history = model and model.with_suffix(".csv")
        train(folder, f"chain_{iteration}", size, device, mask=mask, previous_model=model, previous_history=history)
        spent["training"] += time.perf_counter() - begun
        model = folder / f"chain_{iteration}.safetensors"
    parts = ", ".join(f"{name} {value:.1f}" for name, value in spent.items())
    print(
        f"\na chain of {size.iterations} x {size.epochs} epochs on {size.images * 8 // 10} images of {size.side} x "
        f"{size.side}, batch 8, in one process: {sum(spent.values()):.1f} s ({parts})",
        flush=True,
    )


def measure_accuracy(folder: Path, size: Size, device: str) -> None:
    """Print the validation mean IoU of trainings in the fast way and, kernel by kernel, in float32."""
    scores: dict[str, list[float]] = {"as it is": [], "float32": []}
    for seed in range(1, size.seeds + 1):
        for name, values in scores.items():
            training = {**TRAINING, "epochs": size.accuracy_epochs, "device": device, "learning_rate": 1e-3}
            if name == "float32":
                training |= {"precision": "float32", "cuda_graphs": False}
            end = train(folder, f"{name}_{seed}", size, device, training=training, seed=seed)
            values.append(100 * end["validation_mean_iou"])
    differences = np.subtract(scores["as it is"], scores["float32"])
    print(
        f"\nvalidation mean IoU after {size.accuracy_epochs} epochs, n = {size.seeds} seeds (mean ± sd, %): "
        + ", ".join(f"{name} {np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}" for name, values in scores.items())
        + f"; paired difference {differences.mean():+.2f} ± {differences.std(ddof=1):.2f}",
        flush=True,
    )


def measure_sharing(size: Size, device: str) -> None:
    """Print images/s of all trainings together when several processes share the device, each in its steady state."""
    print()
    command = [sys.executable, __file__, "--device", device, "--beside-others"]
    command += ["--small"] if size is SMALL else []
    for name, environment in (("by themselves", os.environ), ("under MPS", None)):
        with ExitStack() as stack:
            if environment is None:
                if device != "cuda" or not shutil.which("nvidia-cuda-mps-control"):
                    continue
                environment = stack.enter_context(multi_process_service())
            for count in size.at_once:
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
                jobs = [subprocess.Popen(command, **pipes) for _ in range(count)]
                for job in jobs:
                    job.stdout.readline()  # it is warm
                for job in jobs:
                    job.stdin.write("go\n")
                    job.stdin.flush()
                rates = [float(job.communicate()[0].split()[-1]) for job in jobs]
                print(f"{count} at once, {name}: {sum(rates):8.0f} images/s together", flush=True)


@contextmanager
def multi_process_service() -> Iterator[Mapping[str, str]]:
    """Run NVIDIA's daemon in folders of its own; yield the environment of its clients."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        subprocess.run(["nvidia-cuda-mps-control", "-d"], env=environment, check=True)
        try:
            yield environment
        finally:
            subprocess.run(["nvidia-cuda-mps-control"], input="quit\n", text=True, env=environment, check=False)


def train_beside_others(size: Size, device: torch.device) -> None:
    """Warm up, wait for a line, train for some seconds; print images/s."""
    trainer = build_trainer(size, 8, device, is_recorded=True)
    for _ in range(2):
        train_once(trainer)
    print("warm", flush=True)
    sys.stdin.readline()
    begun, images = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < size.steady_seconds:
        images += train_once(trainer)
    print(images / spent)


def main() -> None:
    """Print all measures, or train once beside others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda (default) or cpu")
    parser.add_argument("--small", action="store_true", help="few of everything: to see that it works")
    parser.add_argument("--beside-others", action="store_true", help=argparse.SUPPRESS)  # one of several at once
    arguments = parser.parse_args()
    size, device = SMALL if arguments.small else Size(), torch.device(arguments.device)
    if arguments.beside_others:
        train_beside_others(size, device)
        return
    begun = time.perf_counter()
    print(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {device_name(device)}, torch {torch.__version__}", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), size)
        measure_speed(Path(folder), size, device)
        measure_encoder(size, device)
        measure_chain(Path(folder), size, arguments.device)
        measure_accuracy(Path(folder), size, arguments.device)
        measure_sharing(size, arguments.device)
    print(f"\n{time.perf_counter() - begun:.0f} s in all")


if __name__ == "__main__":
    main()
