"""The images of a training, in memory, and how they are drawn as batches: reduced, partly intact, or cut out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial_reduction.cropping import Windows, tight_boxes
from spatial_reduction.dataset import Dataset
from spatial_reduction.decoding import IGNORED
from spatial_reduction.masking import open_mask
from spatial_reduction.reduction import reduced_blocks
from spatial_reduction.weight_map import training_weights

SHARE_OF_DEVICE = 0.5  # of the free GPU memory that the data may take; the rest is for the network
Batch = tuple[torch.Tensor, ...]  # images uint8 (n, H, W, C), labels uint8 (n, H, W), weights float32 (n, H, W) if any


@dataclass(frozen=True)
class Images:
    """Images uint8 (N, H, W, C) and labels uint8 (N, H, W), resident where training runs if they fit there.

    Attributes:
        device: where the batches go.
        intact: the same images with nothing removed, and
        intact_share: the per cent of the images of each batch that are taken from there.
        windows: where the images are cut; None for whole images.
        weights: float32 (N, H, W), of each pixel in the loss; None if all are 1.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    device: torch.device
    intact: "Images | None" = None
    intact_share: float = 0
    windows: Windows | None = None
    weights: torch.Tensor | None = None

    def batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        """Yield batches of `size` images in the given order, on the device, still uint8.

        Where images are cut, those of similar size come together, in as many batches. The first images of a batch
        are the intact ones; their number is rounded so that after any number of batches it is the wanted share of
        all images so far, rounded down: half of every batch if its size is even.
        """
        # The order is moved at once: a copy per batch would wait for the device at every step.
        groups = self.windows.group(order, size) if self.windows else order.to(self.pixels.device).split(size)
        taken = 0
        for chosen in groups:
            before, taken = taken, taken + len(chosen)
            whole = int(taken * self.intact_share // 100) - int(before * self.intact_share // 100)
            parts = [self.intact._pick(chosen[:whole])] if self.intact and whole else []
            if whole < len(chosen):
                parts.append(self._pick(chosen[whole:]))
            yield tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True)) if len(parts) > 1 else parts[0]

    def _pick(self, chosen: torch.Tensor) -> Batch:
        stored = [tensor for tensor in (self.pixels, self.labels, self.weights) if tensor is not None]
        if self.windows:
            picked = self.windows.cut(*stored, chosen=chosen)
        else:
            chosen = chosen.to(self.pixels.device)
            picked = tuple(tensor[chosen] for tensor in stored)
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in picked)


def load_training_images(
    data: Dataset,
    mask: str | Path,
    removal: Mapping[str, Any],
    seed: int,
    device: torch.device,
    stride: int,
    border_weight: Mapping[str, Any] | None = None,
) -> Images:
    """Read the training split as one iteration trains on it.

    Args:
        mask: kept pixels of each image.
        removal: what the mask does, keys of the section `reduction`: `fill`, `removes`, `intact_share`, `crop`.
        stride: the network's, by which the sides of its input are divisible.
        border_weight: the section `training.border_weight`; None for a loss without weights.

    Raises:
        InputError: the mask file is damaged or made for other images, or weights need objects and there are none.
    """
    weights = training_weights(data, border_weight)
    reduced = load_images(_reduced_pairs(data, mask, removal, seed), data, "train", device, weights)
    if removal["crop"]:
        return replace(reduced, windows=Windows(_boxes(data, mask), stride))
    if removal["intact_share"]:
        intact = load_images(data.blocks("train"), data, "train", device, weights)
        return replace(reduced, intact=intact, intact_share=removal["intact_share"])
    return reduced


def load_images(
    blocks: Iterable[tuple[slice, np.ndarray, np.ndarray]],
    data: Dataset,
    split: str,
    device: torch.device,
    weights: np.ndarray | None = None,
) -> Images:
    """Read the images of a split into memory, on the device if they fit into half of what is free there."""
    height, width, channels = data.image_shape
    pixels = torch.empty((data.count(split), height, width, channels), dtype=torch.uint8)
    labels = torch.empty((data.count(split), height, width), dtype=torch.uint8)
    for block, some_pixels, some_labels in blocks:
        pixels[block], labels[block] = torch.from_numpy(some_pixels), torch.from_numpy(some_labels)
    stored = [pixels, labels, *([] if weights is None else [torch.from_numpy(weights)])]
    fits = device.type != "cuda" or sum(t.nbytes for t in stored) <= SHARE_OF_DEVICE * torch.cuda.mem_get_info()[0]
    pixels, labels, *others = [tensor.to(device) for tensor in stored] if fits else stored
    return Images(pixels, labels, device, weights=others[0] if others else None)


def _reduced_pairs(
    data: Dataset, mask: str | Path, removal: Mapping[str, Any], seed: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield (position, images, labels); a pixel that leaves the loss has the ignored label."""
    blocks = reduced_blocks(data, mask, removal["fill"], seed, removes=removal["removes"])
    if removal["removes"] == "input":
        yield from blocks
        return
    with open_mask(mask, data.count("train"), data.image_shape[:2]) as masks:
        for block, images, labels in blocks:
            yield block, images, np.where(masks.read(block), labels, np.uint8(IGNORED))


def _boxes(data: Dataset, mask: str | Path) -> torch.Tensor:
    count = data.count("train")
    with open_mask(mask, count, data.image_shape[:2]) as masks:
        blocks = (slice(start, start + data.block) for start in range(0, count, data.block))
        return torch.from_numpy(np.concatenate([tight_boxes(masks.read(block)) for block in blocks]))
