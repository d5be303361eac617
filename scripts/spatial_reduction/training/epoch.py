"""One epoch: the optimiser steps and the validation. Bit-exact resuming depends on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.metrics.overlap import iou, labelled_classes, mean_over_classes, pixel_accuracy
from spatial_reduction.networks.base import Network
from spatial_reduction.networks.inference import to_input
from spatial_reduction.runtime.device import set_tf32
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.training.augmentation import Augment
from spatial_reduction.training.batches import Images
from spatial_reduction.training.cuda_graph import ReplayedSteps
from spatial_reduction.training.image_store import Batch
from spatial_reduction.training.optimizer import Optimizer


@dataclass
class Trainer:
    """A network with all that its training needs; one call per epoch.

    With `replay` a step is recorded and repeated (`cuda_graph`); without, it is taken kernel by kernel.

    With `is_filled` a batch that is smaller, the last one, gets images without a labelled pixel: one shape of batch is
    one recording. The loss is the same, up to the order of its sum. Not for batch normalisation, whose means they
    would change, nor for a network that draws as many windows as there are images.

    `run_epoch` depends on (seed, cumulative epoch), the weights and the optimiser's state alone, so a training
    that goes on from a checkpoint repeats the undisturbed one.
    """

    network: Network
    optimizer: Optimizer
    train: Images
    validation: Images
    augment: Augment | None
    precision: str
    batch_size: int
    block: int
    classes: int
    seed: int
    windows: int = 0
    with_dice: bool = False
    is_filled: bool = False
    replay: ReplayedSteps | None = None
    validation_counts: torch.Tensor | None = None

    def run_epoch(self, epoch: int, rates: Sequence[float]) -> dict[str, float]:
        """Train on every image once, validate; return the losses and measures of the epoch.

        Args:
            epoch: of the whole chain.
            rates: learning rate of each step.
        """
        set_tf32(self.precision == "tf32")
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
            losses.append(self._take(self._filled(batch)))
        values = torch.stack(losses).cpu()
        if not values.isfinite().all():
            self._stop(epoch, f"in batch {int((~values.isfinite()).nonzero()[0]) + 1}")
        return float(values.mean())

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def _take(self, batch: Batch) -> torch.Tensor:
        return self.replay.take(self.take_step, *batch) if self.replay else self.take_step(*batch)

    def _filled(self, batch: Batch) -> Batch:
        missing = self.batch_size - len(batch[0])
        if not self.is_filled or not missing:
            return batch
        fills = (0, IGNORED, 0)  # images, labels, weights
        return tuple(
            torch.cat([tensor, tensor.new_full((missing, *tensor.shape[1:]), fill)])
            for tensor, fill in zip(batch, fills, strict=False)
        )

    def take_step(self, pixels: torch.Tensor, labels: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        """Augment a batch and change the weights by it; return its loss, a scalar on the device.

        Args:
            pixels, labels, weights: see `image_store.Batch`.
        """
        self.optimizer.zero_grad()
        if self.augment:
            pixels, labels, *weights = self.augment(pixels, labels, *weights)
        with self._autocast(pixels.device):
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

        `validation_counts` then holds the confusion of each image, int32 (N, C, C).

        The loss is the cross-entropy alone, never weighted, so that it compares across arms with other losses.
        """
        self.network.eval()
        images, kinds, device = len(self.validation), self.classes**2 + 1, self.validation.device  # and one: ignored
        losses, counted = [], torch.zeros(images * kinds, dtype=torch.int32, device=device)
        first = 0
        for pixels, labels in self.validation.batches(torch.arange(images), self.block):
            with self._autocast(pixels.device):
                logits = self.network(to_input(pixels))
            valid = labels != IGNORED
            losses.append(segmentation_loss(logits, labels) * valid.sum())
            cells = torch.where(valid, labels.long() * self.classes + logits.argmax(dim=1), kinds - 1)
            cells += kinds * torch.arange(first, first + len(labels), device=device)[:, None, None]
            first += len(labels)
            counted.scatter_add_(0, cells.flatten(), counted.new_ones(cells.numel()))  # bincount would wait for the GPU
        counted = counted.reshape(images, kinds)[:, :-1].reshape(images, self.classes, self.classes)
        self.validation_counts = counted.cpu()
        matrix = self.validation_counts.sum(dim=0, dtype=torch.int64).numpy()
        return {
            "validation_loss": float(torch.stack(losses).sum()) / max(1, int(matrix.sum())),
            "validation_mean_iou": float(mean_over_classes(iou(matrix), labelled_classes(matrix))),
            "validation_pixel_accuracy": float(pixel_accuracy(matrix)),
        }


def has_batch_statistics(network: Network) -> bool:
    """Return whether the output for an image depends, in training, on the other images of its batch."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def choose_precision(name: str, device: torch.device) -> str:
    """Return the precision of a training's convolutions: `float32` (IEEE), `tf32` or `bfloat16`.

    `auto` is bfloat16 on a GPU that has it, else float32.
    """
    if name != "auto":
        return name
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if has_bfloat16 else "float32"


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
