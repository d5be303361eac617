"""Rows: training beside the plain loop, saliency and masks beside a bare forward pass, jobs side by side."""

import time
from pathlib import Path

import torch
from material import Stage, picture_pairs
from measuring import Row, Worker, alternate, divide, spread
from plain_loop import UNet, build_loader, train_epoch
from stages import build_saliency, build_training, flops_per_image, void, write_first_files

from spatial_reduction.data.dataset_file import Dataset

SIDE, BATCH = 128, 8


def build_plain(pictures: Path, names: list[str], widths: list[int], threads: int) -> dict:
    """Return `epoch` of the plain loop."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    network = UNet(widths)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    loader = build_loader(picture_pairs(pictures, names), SIDE, BATCH)
    return {"epoch": lambda: void(train_epoch(network, optimizer, loader))}


def measure_training(folder: Path, pictures: Path, images: int, threads: int, n: int) -> list[Row]:
    """Compare one epoch with one of the plain loop, over the same pictures, from decoding on."""
    stage = Stage(folder / "training", pictures).prepare(images, SIDE)
    write_first_files(stage)
    names = Dataset.open(stage.file("dataset.h5")).names("train")
    ours, plain = (
        Worker(build_training, stage, threads, "ours"),
        Worker(build_plain, pictures, names, list(stage.widths), threads),
    )
    runs = {name: lambda name=name: ours.measure(name) for name in ("epoch", "product")}
    found = alternate(runs | {"plain": lambda: plain.measure("epoch")}, n)
    ours.close(), plain.close()
    rates = [len(names) / seconds for seconds in found["epoch"]]
    flops = flops_per_image(stage.widths, SIDE, trains=True)
    name = f"training, {SIDE}x{SIDE}, widths 32-64-128, batch {BATCH}, {threads} threads: plain loop / ours"
    share = share_of_product([rate * flops for rate in rates], found["product"])
    return [Row(name, rates, "images/s", divide(found["plain"], found["epoch"]), ("at least", 2.0), share)]


def measure_streaming(folder: Path, pictures: Path, images: int, threads: int, n: int) -> list[Row]:
    """Compare an epoch whose images are read from their file with one whose images are in memory."""
    stage = Stage(folder / "streaming", pictures).prepare(images, SIDE)
    write_first_files(stage)
    worker = Worker(build_training, stage, threads, "streaming")
    found = alternate({name: lambda name=name: worker.measure(name) for name in ("epoch", "streamed epoch")}, n)
    worker.close()
    rates = [Dataset.open(stage.file("dataset.h5")).count("train") / seconds for seconds in found["streamed epoch"]]
    name = f"training, images read from the file in every epoch, {threads} threads: time / images in memory"
    return [Row(name, rates, "images/s", divide(found["streamed epoch"], found["epoch"]), ("at most", 1.2))]


def measure_saliency(folder: Path, pictures: Path, images: int, threads: int, n: int) -> list[Row]:
    """Compare saliency and masks, file to file, with a bare forward pass over the same images in memory."""
    stage = Stage(folder / "saliency", pictures).prepare(images, SIDE)
    write_first_files(stage)
    worker = Worker(build_saliency, stage, threads)
    runs = ("forward", "saliency and mask", "product")
    found = alternate({name: lambda name=name: worker.measure(name) for name in runs}, n)
    worker.close()
    count = Dataset.open(stage.file("dataset.h5")).count("train")
    rates = [count / seconds for seconds in found["saliency and mask"]]
    flops = flops_per_image(stage.widths, SIDE, trains=False)
    name = f"saliency + mask, files included, {threads} threads: time / bare forward pass"
    share = share_of_product([rate * flops for rate in rates], found["product"])
    ratios = divide(found["saliency and mask"], found["forward"])
    return [Row(name, rates, "images/s", ratios, ("at most", 1.15), share)]


def measure_side_by_side(folder: Path, pictures: Path, images: int, n: int) -> list[Row]:
    """Compare two jobs one after the other, 2 threads each, with both side by side, 1 thread each."""
    stage = Stage(folder / "side_by_side", pictures).prepare(images, SIDE)
    write_first_files(stage)
    alone = Worker(build_training, stage, 2, "alone")
    beside = [Worker(build_training, stage, 1, f"beside_{index}") for index in range(2)]

    def one_after_the_other() -> float:
        return alone.measure("job") + alone.measure("job")

    def side_by_side() -> float:
        begun = time.perf_counter()
        for worker in beside:
            worker.start("job")
        for worker in beside:
            worker.finish()
        return time.perf_counter() - begun

    found = alternate({"serial": one_after_the_other, "parallel": side_by_side}, n)
    for worker in (alone, *beside):
        worker.close()
    name = "two training jobs: one after the other with 2 threads / side by side with 1"
    return [Row(name, found["parallel"], "s for both", divide(found["serial"], found["parallel"]), ("at least", 1.0))]


def share_of_product(rates: list[float], products: list[float]) -> str:
    """Say what share of the rate of a large matrix product the convolutions reach."""
    shares = [100 * share for share in divide(rates, products)]
    product = sorted(products)[len(products) // 2] / 1e9
    return f"{spread(shares, 0)} % of a matrix product's {product:.0f} GFLOP/s"
