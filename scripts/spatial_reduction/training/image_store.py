"""Where the images of a training lie: in memory, on the GPU, or in their files, read while the training computes."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.mask_file import open_mask
from spatial_reduction.runtime.device import moved

AHEAD = 4  # batches read before they are asked for: one slow read does not stop the training
Batch = tuple[torch.Tensor, ...]  # images uint8 (n, H, W, C), labels uint8 (n, H, W), weights float32 (n, H, W) if any
Pick = Callable[[torch.Tensor], Batch]  # positions int64 (n,) on the CPU -> the batch of these images, in this order
Item = TypeVar("Item")


class Store(Protocol):
    """Images by their position in a split."""

    is_read_ahead: bool

    def __len__(self) -> int: ...

    def opened(self) -> AbstractContextManager[Pick]:
        """Return a context in which images can be picked: yields a `Pick`."""


@dataclass(frozen=True)
class InFiles:
    """Images that are read from their files, and reduced, each time they are picked: they take no memory.

    Attributes:
        mask: file of the kept pixels; None for intact images.
        removal: what the mask does.
        seed: of the fill `noise`.
        weights: float32 (N, H, W) of each pixel in the loss; these are in memory.
    """

    data: Dataset
    split: str
    mask: Path | None = None
    removal: Removal | None = None
    seed: int = 0
    weights: torch.Tensor | None = None
    is_read_ahead: bool = True

    def __len__(self) -> int:
        return self.data.count(self.split)

    @property
    def nbytes(self) -> int:
        """Bytes of all images and labels."""
        return len(self) * self.data.pixel_count * (self.data.image_shape[2] + 1)

    @contextmanager
    def opened(self) -> Iterator[Pick]:
        """Open the files.

        Raises:
            InputError: a file is damaged (now or where it is read later), or the mask is made for other images.
        """
        with ExitStack() as files:
            read = files.enter_context(self.data.reader(self.split))
            masks = self.mask and files.enter_context(open_mask(self.mask, len(self), self.data.image_shape[:2]))

            def pick(chosen: torch.Tensor) -> Batch:
                positions = chosen.numpy()
                images, labels = read(positions)
                if masks:
                    kept = masks.read(positions)
                    images, labels = self.removal.apply(images, labels, kept, positions, self.data.mean, self.seed)
                batch = torch.from_numpy(images), torch.from_numpy(labels)
                return batch if self.weights is None else (*batch, self.weights[chosen])

            yield pick


@dataclass(frozen=True)
class InMemory:
    """Images in the memory of one device.

    Attributes:
        tensors: images uint8 (N, H, W, C), labels uint8 (N, H, W), and weights float32 (N, H, W) if any.
    """

    tensors: Batch
    is_read_ahead: bool = False

    @classmethod
    def load(cls, source: InFiles) -> "InMemory":
        """Read all images of files into the memory of the machine."""
        height, width, channels = source.data.image_shape
        pixels = torch.empty((len(source), height, width, channels), dtype=torch.uint8)
        labels = torch.empty((len(source), height, width), dtype=torch.uint8)
        with source.opened() as pick:
            for some in torch.arange(len(source)).split(source.data.block):
                pixels[some], labels[some], *_ = pick(some)
        weights = [] if source.weights is None else [source.weights]
        return cls((pixels, labels, *weights))

    def moved(self, device: torch.device) -> "InMemory":
        """Return the same images in the memory of a device."""
        return InMemory(tuple(tensor.to(device) for tensor in self.tensors))

    def __len__(self) -> int:
        return len(self.tensors[0])

    @contextmanager
    def opened(self) -> Iterator[Pick]:
        """Yield what picks images; nothing is to be opened."""
        device = self.tensors[0].device

        def pick(chosen: torch.Tensor) -> Batch:
            at = moved(chosen, device)
            return tuple(tensor[at] for tensor in self.tensors)

        yield pick


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items of an iterator that another thread reads, up to `AHEAD` of them in advance."""
    with ThreadPoolExecutor(1) as reader:
        waiting = deque(reader.submit(next, items, None) for _ in range(AHEAD))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(reader.submit(next, items, None))
            yield item
