"""The plain loop that everyone writes: PyTorch as a tutorial has it. What the benchmark compares with.

Pictures are decoded and resized at each access, masks are one-hot, a loader with two workers makes float32 batches,
channels first, the optimiser is torch.optim's, the loss is read at every step, masks are made image by image.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

TRIMAP_CLASSES = {2: 0, 1: 1, 3: 2}  # of the Oxford-IIIT Pet layout: background, pet, border


class Pictures(Dataset):
    """Pictures and their label pictures, decoded when they are asked for."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]], side: int) -> None:
        self.pairs, self.side = pairs, side

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return image float32 (3, H, W) in [0, 1] and one-hot mask float32 (3, H, W)."""
        size = (self.side, self.side)
        picture, trimap = self.pairs[index]
        image = Image.open(picture).convert("RGB").resize(size, Image.Resampling.BILINEAR)
        labels = np.asarray(Image.open(trimap).resize(size, Image.Resampling.NEAREST))
        mask = np.stack([labels == value for value in TRIMAP_CLASSES])
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        return pixels, torch.from_numpy(mask).float()


class UNet(nn.Module):
    """A U-Net of given widths, channels first."""

    def __init__(self, widths: Sequence[int], classes: int = 3) -> None:
        super().__init__()
        down, up = [3, *widths], list(widths[::-1])
        self.encoders = nn.ModuleList(block(a, b) for a, b in pairwise(down))
        self.upsamplers = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairwise(up))
        self.decoders = nn.ModuleList(block(2 * b, b) for b in up[1:])
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, classes, H, W)."""
        skips = []
        for encoder in self.encoders[:-1]:
            skips.append(encoder(x))
            x = functional.max_pool2d(skips[-1], 2)
        x = self.encoders[-1](x)
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            x = decoder(torch.cat([skips.pop(), upsampler(x)], dim=1))
        return self.head(x)


def block(a: int, b: int) -> nn.Sequential:
    """Return two 3x3 convolutions with ReLUs."""
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU())


def build_loader(pairs: Sequence[tuple[Path, Path]], side: int, batch_size: int) -> DataLoader:
    """Return a loader with two workers, which it keeps from epoch to epoch."""
    return DataLoader(Pictures(pairs, side), batch_size, shuffle=True, num_workers=2, persistent_workers=True)


class InMemoryLoader:
    """The same batches of pictures that were decoded once, float32, on the device."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]], side: int, batch_size: int, device: torch.device) -> None:
        pictures = Pictures(pairs, side)
        images, masks = zip(*(pictures[index] for index in range(len(pictures))), strict=True)
        self.parts = torch.stack(images).to(device), torch.stack(masks).to(device)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.parts[0]) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch, in another order each time."""
        for chosen in torch.randperm(len(self.parts[0]), device=self.parts[0].device).split(self.batch_size):
            yield tuple(part[chosen] for part in self.parts)


def train_epoch(network: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader | InMemoryLoader) -> float:
    """Train on every picture once; return the mean loss."""
    network.train()
    total, device = 0.0, next(network.parameters()).device
    for batch in loader:
        images, masks = (part.to(device) for part in batch)
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), masks)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def shrink_masks(masks: torch.Tensor, scores: torch.Tensor, share: float) -> torch.Tensor:
    """Keep the top `share` of the pixels that the masks float32 (N, H, W) keep, by scores float32 (N, H, W)."""
    shrunk = []
    for mask, score in zip(masks, scores, strict=True):
        values = score[mask > 0]
        removed = int(len(values) * (1 - share))
        threshold = torch.kthvalue(values, removed + 1).values
        shrunk.append((score >= threshold).float() * mask)
    return torch.stack(shrunk)
