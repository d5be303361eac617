"""Train a network for one iteration: the same loop for the single pass, every arm and every iteration."""

import csv
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.mask_file import read_mask_origin
from spatial_reduction.networks.base import Network
from spatial_reduction.networks.model_file import build_model, load_model, require_architecture, save_model
from spatial_reduction.networks.own_network import trust_network
from spatial_reduction.runtime.device import Machine, device_name, memory_told
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import (
    append_row,
    create_hdf5,
    file_digest,
    require_whole_table,
    table_digest,
    write_table,
)
from spatial_reduction.runtime.log import progress, say
from spatial_reduction.training.augmentation import build_augmentation
from spatial_reduction.training.batches import Images, load_images
from spatial_reduction.training.checkpoint import Pace, Progress, fingerprint, load_checkpoint, save_checkpoint
from spatial_reduction.training.cuda_graph import GraphRecorder, ReplayedSteps
from spatial_reduction.training.epoch import Trainer, choose_precision, has_batch_statistics
from spatial_reduction.training.optimizer import Optimizer, Plateau
from spatial_reduction.training.schedule import rates_of_epoch

COUNTERS = ("cumulative_epoch", "cumulative_steps", "cumulative_images", "cumulative_seconds")


@dataclass(frozen=True)
class TrainingFiles:
    """What one training reads and writes.

    Attributes:
        mask: kept pixels of each training image.
        model: weights after the last epoch, or of the epoch of lowest validation loss (`training["keep"]`).
        history: CSV, one row per epoch.
        validation_counts: HDF5, `confusion` int32 (epochs, N, C, C): of each validation image after each epoch, rows
            true, columns predicted.
        checkpoint: written after the first epoch and then every so often; at the end it holds the weights alone. A
            training that was killed goes on from it and, on the CPU, ends with the very same weights.
        previous_model, previous_history: of the last iteration; None in iteration 1.
        encoder: initial weights of the network's encoder, if it has one that begins with trained weights.
        split_seed: whose training and validation images these are, see `Dataset.open`.
    """

    dataset: str | Path
    mask: str | Path
    model: str | Path
    history: str | Path
    validation_counts: str | Path
    checkpoint: str | Path
    previous_model: str | Path | None = None
    previous_history: str | Path | None = None
    encoder: str | Path | None = None
    split_seed: int | None = None

    @property
    def history_so_far(self) -> Path:
        """The history of a running training, to be watched: it gets a row at the end of every epoch."""
        history = Path(self.history)
        return history.with_stem(f"{history.stem}_so_far")


def train_model(
    files: TrainingFiles,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    removal: Removal,
    start: str,
    seed: int,
    machine: Machine,
    origin: Mapping[str, Any] | None = None,
    memory_mb: float | None = None,
) -> None:
    """Train on the reduced training images, validate on intact ones after every epoch.

    Args:
        model, training: sections of the configuration.
        removal: what the mask does. A network that is shown masks (`fill` "mask") never sees an intact image: its
            validation columns are meaningless, so the training loss sets its learning rate and the last epoch is kept.
        start: with `warm` the weights of the last iteration are the first ones; with `scratch` they are new. Its
            counts of epochs, steps, images and seconds are carried on in any case.
        seed: determines the initial weights and, with the cumulative epoch, the order of the images and every
            random draw; arms of equal seed see the same.
        origin: what the job was asked for, `code` (the digest of what its code computes) among it. The model file keeps
            it with what made the mask and with the digests of its history and counts; a checkpoint of other code is not
            used.
        memory_mb: of the job; images that take more than half of it are read from their files in every epoch.

    Raises:
        InputError: a file is damaged or does not fit, a batch is larger than the data, or the loss is not finite.
    """
    device, data = machine.enter(), Dataset.open(files.dataset, files.split_seed)
    if removal.fill == "mask":
        training = {**training, "keep": "last", "schedule": _unvalidated(training["schedule"])}
    if training["batch_size"] > data.count("train"):
        raise InputError(
            f"training.batch_size: {training['batch_size']} is more than the {data.count('train')} training images of "
            f"{files.dataset}"
        )
    network = _first_weights(data, files, model, start, seed).to(device)
    weighting = {key: training.get(key) for key in ("class_weights", "border_weight")}
    images = load_images(data, files.mask, removal, seed, device, network.stride, weighting, memory_mb)
    trainer = build_trainer(data, network, images, training, seed)
    identity = fingerprint(
        {
            "data": data.digest,
            "mask": file_digest(files.mask),
            "previous": files.previous_model and file_digest(files.previous_model),
            "encoder": files.encoder and file_digest(files.encoder),
            "settings": [model, training, start, asdict(removal), seed],
            "machine": [device.type, machine.threads, torch.__version__],
            "code": (origin or {}).get("code", ""),
        }
    )
    what = f"a training of the network {model['name']} in batches of {training['batch_size']}; a smaller "
    what += "training.batch_size, or fewer jobs at a time (--resources gpu=N), needs less"
    with memory_told(device, what):
        state, weights, counts = _run(trainer, training, files, identity)
    network.load_state_dict(weights)
    write_table(files.history, state.history)
    with create_hdf5(files.validation_counts, "validation_counts") as file:
        how = {"chunks": (1, *counts.shape[1:]), "compression": "gzip", "fletcher32": True}
        file.create_dataset("confusion", data=counts.numpy(), **how)
    save_model(files.model, network, _tell_origin(files, origin or {}))
    files.history_so_far.unlink(missing_ok=True)
    end = state.history[-1]
    say(
        f"{files.model}: {end['epoch']} epochs on {device.type}, train loss {end['train_loss']:.4f}, "
        f"validation loss {end['validation_loss']:.4f}, mean IoU {end['validation_mean_iou']:.4f}"
    )


def _tell_origin(files: TrainingFiles, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model file records: its data, what made it and its mask, digests of the files beside it."""
    mask = read_mask_origin(files.mask)
    digests = mask.pop("files", {})
    digests |= {"history": table_digest(files.history), "validation_counts": file_digest(files.validation_counts)}
    return {"data": Dataset.open(files.dataset).digest, **mask, "train_model": dict(origin), "files": digests}


def build_trainer(
    data: Dataset, network: Network, images: tuple[Images, Images], training: Mapping[str, Any], seed: int
) -> Trainer:
    """Return what trains a network on the first of `images` and validates it on the second."""
    device, windows = images[0].device, training.get("windows", 0)  # a network on whole images has no windows
    is_recorded = device.type == "cuda" and training["cuda_graphs"]
    return Trainer(
        network=network,
        optimizer=Optimizer(network.parameters(), training),
        train=images[0],
        validation=images[1],
        augment=build_augmentation(training["augmentation"], data.image_shape[0]),
        precision=choose_precision(training["precision"], device),
        batch_size=training["batch_size"],
        block=data.block,
        classes=len(data.classes),
        seed=seed,
        windows=windows,
        with_dice=training.get("loss") == "cross_entropy_and_dice",
        is_filled=device.type == "cuda" and not windows and not has_batch_statistics(network),
        # Where a window's pixels lie is asked of the GPU in every step, so such a step cannot be recorded.
        replay=ReplayedSteps(GraphRecorder(device)) if is_recorded and not windows else None,
    )


def _run(
    trainer: Trainer, training: Mapping[str, Any], files: TrainingFiles, identity: str
) -> tuple[Progress, Mapping[str, torch.Tensor], torch.Tensor]:
    """Run the epochs that are left; return the progress at the end, the weights to keep, the validation's counts."""
    network, optimizer, checkpoint = trainer.network, trainer.optimizer, Path(files.checkpoint)
    before = _counters(files.previous_history)
    state, best = Progress(epoch=0, learning_rate=optimizer.learning_rate), {}
    counts: list[torch.Tensor] = []
    found = load_checkpoint(checkpoint, identity)
    if found:
        state, parts = found
        network.load_state_dict(parts["model"])
        if state.epoch == training["epochs"]:
            return state, network.state_dict(), parts["validation"]["counts"]
        optimizer.load_state(parts["optimizer"])
        for row in state.history:
            append_row(files.history_so_far, row, is_first=row["epoch"] == 1)
        best = parts.get("best", {})
        counts = list(parts["validation"]["counts"])
    schedule, monitor = training["schedule"], training["schedule"].get("monitor", "none")
    pace, plateau = Pace(), Plateau(schedule.get("factor", 1), schedule.get("patience", 0), **state.plateau)
    steps = -(-len(trainer.train) // trainer.batch_size)
    left = range(state.epoch + 1, training["epochs"] + 1)
    epochs = progress(left, training["epochs"], str(files.model), "epochs", done=state.epoch)
    for epoch in epochs:
        begun = time.perf_counter()
        rates = rates_of_epoch(schedule, state.learning_rate, epoch, training["epochs"], steps)
        last = state.history[-1] if state.history else before
        losses = trainer.run_epoch(int(last["cumulative_epoch"]) + 1, rates)
        counts.append(trainer.validation_counts)
        counters = _count_on(last, trainer, time.perf_counter() - begun)
        state.history.append(
            {
                "epoch": epoch,
                **counters,
                "learning_rate": max(rates),
                **losses,
                "gpu_memory_mb": round(torch.cuda.max_memory_reserved() / 2**20),  # peak so far; 0 on the CPU
                "device": device_name(trainer.train.device),
                "precision": trainer.precision,
            }
        )
        append_row(files.history_so_far, state.history[-1], is_first=epoch == 1)
        state.epoch = epoch
        if monitor != "none":
            loss = losses["train_loss" if monitor == "training" else "validation_loss"]
            state.learning_rate = plateau.next_rate(loss, state.learning_rate)
            state.plateau = {"best": plateau.best, "waited": plateau.waited}
        if training["keep"] == "best" and losses["validation_loss"] < state.best_loss:
            state.best_loss = losses["validation_loss"]
            best = {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}
        parts = {"model": network.state_dict(), "optimizer": optimizer.state, "best": best}
        if epoch == training["epochs"]:
            parts = {"model": best or network.state_dict()}
        parts["validation"] = {"counts": torch.stack(counts)}
        if epoch == training["epochs"] or pace.is_due():
            with pace.timed():
                save_checkpoint(checkpoint, identity, state, parts)
        epochs.set_postfix_str(f"validation mean IoU {losses['validation_mean_iou']:.3f}", refresh=False)
    return state, best or network.state_dict(), torch.stack(counts)


def _count_on(last: Mapping[str, Any], trainer: Trainer, seconds: float) -> dict[str, float]:
    """Return the counts of the whole chain after one more epoch."""
    images = len(trainer.train)
    return {
        "cumulative_epoch": int(last["cumulative_epoch"]) + 1,
        "cumulative_steps": int(last["cumulative_steps"]) - (-images // trainer.batch_size),
        "cumulative_images": int(last["cumulative_images"]) + images,
        "cumulative_seconds": last["cumulative_seconds"] + seconds,
    }


def _unvalidated(schedule: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**schedule, "monitor": "training"} if schedule.get("monitor") == "validation" else schedule


def _first_weights(data: Dataset, files: TrainingFiles, model: Mapping[str, Any], start: str, seed: int) -> Network:
    channels, classes = data.image_shape[2], len(data.classes)
    if files.previous_model is None or start == "scratch":
        return build_model(channels, classes, model, seed, files.encoder)
    trust_network(model)
    network = load_model(files.previous_model)
    require_architecture(files.previous_model, network, channels, classes, model)
    return network


def _counters(history: str | Path | None) -> Mapping[str, float]:
    """Return the counts that the last iteration ended with."""
    if history is None:
        return dict.fromkeys(COUNTERS, 0.0)
    require_whole_table(history)
    with open(history, newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    return {key: float(last[key]) for key in COUNTERS}
