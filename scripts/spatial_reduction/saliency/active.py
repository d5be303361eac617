"""Active looking: the model sees only a part of each image, glimpse by glimpse, where it expects to find something."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, conv1d, interpolate

from spatial_reduction.network import Network
from spatial_reduction.saliency.batched import score_batches
from spatial_reduction.saliency.probability import log_odds
from spatial_reduction.saliency.scores import Blocks, Context

# After "Saliency prediction with active semantic segmentation" (BMVC 2015); the numbers are this project's.
BUDGET = 0.5  # pixels that the model is shown, per pixel of the image
SMALLEST = 16  # pixels, side of a glimpse; otherwise a quarter of the shorter side of the image
RIM = 8  # the outer eighth of a glimpse is context for what is inside and yields no evidence


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield the evidence for the classes of interest, log-odds, float32 (n, H, W)."""
    return score_batches(blocks, context, partial(look, classes_of_interest=context.classes_of_interest))


@torch.inference_mode()
def look(network: Network, images: torch.Tensor, classes_of_interest: Sequence[int]) -> torch.Tensor:
    """Return the evidence at each pixel; float (n, C, H, W) -> (n, H, W).

    First the glimpses of a coarse grid, then, as long as the budget lasts, the one with the most relevance to be
    expected in pixels not yet seen. A pixel that was seen has the mean log-odds of its glimpses, another one what
    `spread` gives it. Equal numbers of glimpses for all images; at least the grid, if that exceeds the budget.
    """
    height, width = images.shape[2:]
    side = glimpse_side(height, width, network.stride)
    evidence = _Evidence(network, images, side, classes_of_interest)
    grid = list(product(*(grid_starts(size, side, network.stride) for size in (height, width))))
    for place in grid:
        evidence.add(torch.tensor(place, device=images.device).expand(len(images), 2))
    for _ in range(len(grid), int(BUDGET * height * width) // side**2):
        evidence.add(evidence.most_promising())
    return evidence.current()


def glimpse_side(height: int, width: int, stride: int) -> int:
    """Return the side of a glimpse in pixels: a multiple of the network's stride, at most the image's shorter side."""
    shorter = min(height, width)
    wanted = max(SMALLEST, shorter // 4)
    return min(shorter, -(-wanted // stride) * stride)


def grid_starts(size: int, side: int, stride: int) -> list[int]:
    """Return where the glimpses of the coarse grid begin along one axis: evenly, every other one left out."""
    count = max(1, round(size / (2 * side)))
    return [round(((index + 0.5) * size / count - side / 2) / stride) * stride for index in range(count)]


def spread(values: torch.Tensor, weights: torch.Tensor, side: int) -> torch.Tensor:
    """Return the weighted mean of `values` about each pixel, weights falling as a Gaussian; (n, H, W).

    Its standard deviation is half a glimpse, its reach the whole image, so that no pixel is without evidence.
    Computed on cells of an eighth of a glimpse.
    """
    cells = [max(1, 8 * size // side) for size in values.shape[1:]]
    sums, totals = (_blur(adaptive_avg_pool2d(maps, cells), 4) for maps in (values * weights, weights))
    return interpolate((sums / totals)[:, None], size=values.shape[1:], mode="bilinear")[:, 0]


class _Evidence:
    """What the glimpses so far have shown of a batch of images."""

    def __init__(self, network: Network, images: torch.Tensor, side: int, interest: Sequence[int]) -> None:
        self.network, self.images, self.side, self.interest = network, images, side, interest
        self.total = torch.zeros(images.shape[0], *images.shape[2:], device=images.device)
        self.seen = torch.zeros_like(self.total)

    def add(self, places: torch.Tensor) -> None:
        """Look at one place in each image; int (n, 2), top and left."""
        corners, side, rim = places.tolist(), self.side, self.side // RIM
        crops = [image[:, y : y + side, x : x + side] for image, (y, x) in zip(self.images, corners, strict=True)]
        found = log_odds(self.network(torch.stack(crops)), self.interest)
        height, width = self.images.shape[2:]
        for index, (y, x) in enumerate(corners):
            # At the edge of the image there is no more context to be had.
            top, left = rim * (y > 0), rim * (x > 0)
            bottom, right = side - rim * (y + side < height), side - rim * (x + side < width)
            rows, columns = slice(y + top, y + bottom), slice(x + left, x + right)
            self.total[index, rows, columns] += found[index, top:bottom, left:right]
            self.seen[index, rows, columns] += 1

    def current(self) -> torch.Tensor:
        """Return the evidence at each pixel, (n, H, W)."""
        means = self.total / self.seen.clamp(min=1)
        return torch.where(self.seen > 0, means, spread(means, (self.seen > 0).float(), self.side))

    def most_promising(self) -> torch.Tensor:
        """Return the place with the most relevance to be expected in pixels not yet seen, int (n, 2)."""
        expected = torch.sigmoid(self.current()) * (self.seen == 0)
        stride, rim, (height, width) = self.network.stride, self.side // RIM, expected.shape[1:]
        inside = expected[:, None, rim : height - rim, rim : width - rim]
        sums = avg_pool2d(inside, self.side - 2 * rim, stride)  # (n, 1, places down, places across)
        best = sums.flatten(1).argmax(dim=1)
        return torch.stack([best // sums.shape[3], best % sums.shape[3]], dim=1) * stride


def _blur(maps: torch.Tensor, deviation: float) -> torch.Tensor:
    """Convolve with a Gaussian along both axes; (n, H, W)."""
    for _ in range(2):
        size = maps.shape[2]
        offsets = torch.arange(-size + 1, size, device=maps.device, dtype=maps.dtype)
        kernel = torch.exp(-(offsets**2) / (2 * deviation**2))
        lines = conv1d(maps.reshape(-1, 1, size), kernel[None, None], padding=size - 1)
        maps = lines.reshape(maps.shape).transpose(1, 2)
    return maps
