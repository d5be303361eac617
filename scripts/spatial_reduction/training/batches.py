"""The images of a training, and how batches are drawn from them: reduced, partly intact, or cropped."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.crop import Windows, tight_boxes
from spatial_reduction.masks.mask_file import open_mask
from spatial_reduction.runtime.device import moved
from spatial_reduction.runtime.log import say
from spatial_reduction.training.image_store import Batch, InFiles, InMemory, Pick, Store, read_ahead
from spatial_reduction.training.loss_weights import training_weights

SHARE_OF_MEMORY = (
    0.5  # of the job's memory, or of the free GPU memory, that images may take; the network needs the rest
)


@dataclass(frozen=True)
class Images:
    """Images and labels, as the batches of a training or validation.

    Attributes:
        store: where they lie.
        device: where the batches go.
        intact: the same images with nothing removed, and
        intact_share: the per cent of the images of each batch that are taken from there.
        windows: where the images are cropped; None for whole images.
    """

    store: Store
    device: torch.device
    intact: Store | None = None
    intact_share: float = 0
    windows: Windows | None = None

    def __len__(self) -> int:
        return len(self.store)

    def batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        """Yield batches of `size` images in the given order, on the device, still uint8.

        Where images are cropped, a batch holds images of similar size; the number of batches is the same. The first
        images of a batch are the intact ones. Their total after any number of batches is `intact_share` of all images
        so far, rounded down: at 50, half of every batch if its size is even.
        """
        batches = self._batches(order, size)
        # The thread that reads ahead calls nothing of CUDA: a step may be recorded meanwhile.
        for batch in read_ahead(batches) if self.store.is_read_ahead else batches:
            yield tuple(moved(tensor, self.device) for tensor in batch)

    def _batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        taken = 0
        with ExitStack() as files:
            reduced = files.enter_context(self.store.opened())
            intact = files.enter_context(self.intact.opened()) if self.intact else None
            for chosen in self.windows.group(order, size) if self.windows else order.split(size):
                before, taken = taken, taken + len(chosen)
                whole = self._intact_count(taken) - self._intact_count(before)
                parts = [self._picked(intact, chosen[:whole])] if intact and whole else []
                if whole < len(chosen):
                    parts.append(self._picked(reduced, chosen[whole:]))
                yield tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True)) if len(parts) > 1 else parts[0]

    def _intact_count(self, images: int) -> int:
        return int(images * self.intact_share // 100) if self.intact else 0

    def _picked(self, pick: Pick, chosen: torch.Tensor) -> Batch:
        picked = pick(chosen)
        return self.windows.cut(*picked, chosen=chosen) if self.windows else picked


def load_images(
    data: Dataset,
    mask: str | Path,
    removal: Removal,
    seed: int,
    device: torch.device,
    stride: int,
    weighting: Mapping[str, Any] | None = None,
    memory_mb: float | None = None,
) -> tuple[Images, Images]:
    """Return the training split as one iteration trains on it, and the intact validation split.

    All are in memory, on the device if they fit into half of what is free there. What does not fit into half of
    the job's memory is read from the files again in every epoch, ahead of the training. The batches are the same.
    Weights of pixels in the loss, 4 bytes each, stay in memory.

    Args:
        mask: kept pixels of each training image.
        removal: what the mask does.
        stride: the network's, by which the sides of its input are divisible.
        weighting: what weighs pixels in the loss, see `training_weights`; None for nothing.
        memory_mb: of the job, in MB (10^6 bytes); None for as much as there is.

    Raises:
        InputError: a file is damaged or made for other images, or weights need objects and there are none.
    """
    weights = training_weights(data, weighting)
    weights = None if weights is None else torch.from_numpy(weights)
    stores = [
        InFiles(data, "train", Path(mask), removal, seed, weights),
        InFiles(data, "validation"),
        *([InFiles(data, "train", weights=weights)] if removal.intact_share and not removal.crop else []),
    ]
    train, validation, *intact = _placed(stores, device, memory_mb)
    images = Images(train, device, intact[0] if intact else None, removal.intact_share)
    if removal.crop:
        images = replace(images, windows=Windows(_boxes(data, mask), stride))
    return images, Images(validation, device)


def _placed(stores: list[InFiles], device: torch.device, memory_mb: float | None) -> list[Store]:
    """Move images to where all of them fit: to the device or the memory; else they stay in their files.

    Their weights in the loss are in memory in any case.
    """
    weights = stores[0].weights
    needed = sum(store.nbytes for store in stores) + (0 if weights is None else weights.nbytes)
    if memory_mb and needed > SHARE_OF_MEMORY * memory_mb * 1e6:
        say(f"{needed / 1e6:,.2f} MB of images exceed half of the job's {memory_mb} MB: every epoch reads their files")
        return stores
    loaded = [InMemory.load(store) for store in stores]
    if device.type == "cuda" and needed > SHARE_OF_MEMORY * torch.cuda.mem_get_info()[0]:
        return loaded
    try:
        return [store.moved(device) for store in loaded]
    except torch.OutOfMemoryError:  # another job, which saw the same memory free, was faster
        say(f"{needed / 1e6:,.2f} MB of images do not fit on the GPU: they stay in the memory of the machine")
        return loaded


def _boxes(data: Dataset, mask: str | Path) -> torch.Tensor:
    count = data.count("train")
    with open_mask(mask, count, data.image_shape[:2]) as masks:
        blocks = (slice(start, start + data.block) for start in range(0, count, data.block))
        return torch.from_numpy(np.concatenate([tight_boxes(masks.read(block)) for block in blocks]))
