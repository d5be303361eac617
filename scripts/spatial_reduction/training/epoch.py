"""One epoch: the optimiser steps, the validation. What bit-exact resuming rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np
import torch
from torch.nn import functional

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.metrics.overlap import iou, mean_over_classes, pixel_accuracy
from spatial_reduction.networks.base import Network
from spatial_reduction.networks.inference import to_input
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.training.augmentation import Augment
from spatial_reduction.training.batches import Images
from spatial_reduction.training.cuda_graph import Record, ReplayedStep, Step
from spatial_reduction.training.optimizer import Optimizer


@dataclass
class Trainer:
    """A network with all that its training needs; one call per epoch.

    With `record` a step is recorded and repeated (`replayed_step`); without, it is taken kernel by kernel.

    `run_epoch` depends on (seed, cumulative epoch), the weights and the optimiser's state alone, so a training
    that goes on from a checkpoint repeats the undisturbed one.
    """

    network: Network
    optimizer: Optimizer
    train: Images
    validation: Images
    augment: Augment | None
    precision: torch.dtype
    batch_size: int
    block: int
    classes: int
    seed: int
    windows: int = 0
    with_dice: bool = False
    record: Record | None = None

    def run_epoch(self, epoch: int, rates: Sequence[float]) -> dict[str, float]:
        """Train on every image once, validate; return the losses and measures of the epoch.

        Args:
            epoch: of the whole chain.
            rates: learning rate of each step.
        """
        torch.manual_seed(int(np.random.SeedSequence((self.seed, epoch)).generate_state(1)[0]))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.train))
        loss = self.take_steps(torch.from_numpy(order), epoch, rates)
        scores = self._validate()
        if not np.isfinite(scores["validation_loss"]):
            self._stop(epoch, "on the validation images")
        return {"train_loss": loss, **scores}

    def _stop(self, epoch: int, where: str) -> NoReturn:
        raise InputError(
            f"the loss is not finite {where} (cumulative epoch {epoch}, seed {self.seed}, "
            f"learning rate {self.optimizer.learning_rate}); a lower training.learning_rate may help"
        )

    def take_steps(self, order: torch.Tensor, epoch: int, rates: Sequence[float]) -> float:
        """Take one optimiser step per batch; return the mean loss. The device is waited for once, at the end.

        Args:
            order: positions int64 (N,) of the images.
            epoch: for the message of a loss that is not finite.
            rates: learning rate of each step.
        """
        self.network.train()
        losses = []
        for rate, batch in zip(rates, self.train.batches(order, self.batch_size), strict=True):
            if rate != self.optimizer.learning_rate:
                self.optimizer.learning_rate = rate
            losses.append(self._step(*(self.augment(*batch) if self.augment else batch)))
        values = torch.stack(losses).cpu()
        if not values.isfinite().all():
            self._stop(epoch, f"in batch {int((~values.isfinite()).nonzero()[0]) + 1}")
        return float(values.mean())

    @cached_property
    def _step(self) -> Step:
        return ReplayedStep(self.take_step, self.record) if self.record else self.take_step

    def take_step(self, pixels: torch.Tensor, labels: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        """Change the weights by one batch, augmented; return its loss, a scalar on the device.

        Args:
            pixels, labels, weights: see `image_store.Batch`.
        """
        self.optimizer.zero_grad()
        with torch.autocast(pixels.device.type, self.precision, enabled=self.precision != torch.float32):
            logits, labels = self.network.training_pass(to_input(pixels), labels, self.windows)
        loss = segmentation_loss(logits, labels, *weights)
        if self.with_dice:
            loss = loss + dice_loss(logits, labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        """Return loss, mean IoU over all classes and pixel accuracy, pooled over the validation images.

        The loss is the cross-entropy alone, never weighted, so that it compares across arms with other losses.
        """
        self.network.eval()
        losses, counted = [], torch.zeros(self.classes**2 + 1, dtype=torch.int64, device=self.validation.device)
        for pixels, labels in self.validation.batches(torch.arange(len(self.validation)), self.block):
            with torch.autocast(pixels.device.type, self.precision, enabled=self.precision != torch.float32):
                logits = self.network(to_input(pixels))
            valid = labels != IGNORED
            losses.append(segmentation_loss(logits, labels) * valid.sum())
            cells = torch.where(valid, labels.long() * self.classes + logits.argmax(dim=1), self.classes**2).flatten()
            counted.scatter_add_(0, cells, torch.ones_like(cells))  # bincount would wait for the GPU
        matrix = counted[:-1].reshape(self.classes, self.classes).cpu().numpy()
        return {
            "validation_loss": float(torch.stack(losses).sum()) / max(1, int(matrix.sum())),
            "validation_mean_iou": float(mean_over_classes(iou(matrix), range(self.classes))),
            "validation_pixel_accuracy": float(pixel_accuracy(matrix)),
        }


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type of the convolutions: `auto` is bfloat16 on a GPU that has it, else float32."""
    if name == "auto":
        name = (
            "bfloat16"
            if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            else "float32"
        )
    return getattr(torch, name)


def segmentation_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean over the labelled pixels of the cross-entropy, times its weight if there are weights.

    The mean is over the number of pixels, not over the sum of their weights (the paper of the border weights has
    the sum over pixels). Without any labelled pixel it is 0. PyTorch adds up deterministically on CUDA only what it
    returns pixel by pixel (see `determinism`).

    Args:
        logits: (N, classes, H, W), or (N, classes) of single pixels.
        labels: integer (N, H, W) or (N,), 255 is ignored.
        weights: float, of the shape of the labels.
    """
    if weights is None and not torch.are_deterministic_algorithms_enabled():
        total = functional.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORED, reduction="sum")
    else:
        losses = functional.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORED, reduction="none")
        total = (losses if weights is None else losses * weights).sum()
    return total / (labels != IGNORED).sum().clamp(min=1)


def dice_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return 1 minus the mean over classes of 2 sum(p t) / (sum(p) + sum(t)), a soft Dice coefficient, 0 to 1.

    p is the softmax probability of a class, t 1 where it is the label; the sums run over all labelled pixels of the
    batch, the mean over the classes that are in it (Drozdzal et al. 2016, arXiv 1608.04117, for each class; the sums
    over the batch and the mean are this project's). Without any labelled pixel it is 0.

    Args:
        logits, labels: see `segmentation_loss`.
    """
    probabilities = logits.float().softmax(dim=1)
    is_labelled = labels != IGNORED
    totals, overlaps, counts = [], [], []
    for value in range(logits.shape[1]):
        probability = torch.where(is_labelled, probabilities[:, value], 0)
        is_it = labels == value
        overlaps.append(torch.where(is_it, probability, 0).sum())
        counts.append(is_it.sum())
        totals.append(probability.sum() + counts[-1])
    is_there = torch.stack(counts) > 0
    dice = torch.where(is_there, 2 * torch.stack(overlaps) / torch.stack(totals).clamp(min=1e-12), 0)
    return torch.where(is_there.any(), 1 - dice.sum() / is_there.sum().clamp(min=1), 0)
