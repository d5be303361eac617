"""Active looking: the model sees half as many pixels as the image has, first all of it coarsely, then glimpses."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.stride import round_up
from spatial_reduction.saliency.base import Blocks, Context
from spatial_reduction.saliency.batched import score_batches
from spatial_reduction.saliency.probability import log_odds

# After "Saliency prediction with active semantic segmentation" (BMVC 2015); the numbers are this project's.
BUDGET = 0.5  # pixels that the model is shown, per pixel of the image
SMALLEST = 32  # pixels, side of a glimpse; otherwise a quarter of the shorter side of the image
RIM = 8  # the outer eighth of a glimpse is context for what is inside and yields no evidence


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield the evidence for the classes of interest, log-odds, float32 (n, H, W)."""
    return score_batches(blocks, context, partial(look, classes_of_interest=context.classes_of_interest))


@torch.inference_mode()
def look(network: Network, images: torch.Tensor, classes_of_interest: Sequence[int]) -> torch.Tensor:
    """Return the evidence at each pixel, the mean log-odds of all looks at it; float (n, C, H, W) -> (n, H, W).

    The first look is at the whole image at half its size, for a quarter of the pixels. (A coarse grid of glimpses at
    full size instead loses most of what the model knows: a padded network tells the place of a pixel from the edge of
    what it is shown.) Then, as long as the budget lasts, come glimpses, each where most relevance is expected in
    pixels that no glimpse has seen; equally many in every image.
    """
    height, width = images.shape[2:]
    coarse_shape = [half_size(size, network.stride) for size in (height, width)]
    evidence = _Evidence(network, images, coarse_shape, classes_of_interest)
    left = int(BUDGET * height * width) - coarse_shape[0] * coarse_shape[1]
    for _ in range(left // evidence.side**2):
        evidence.add(evidence.most_promising())
    return evidence.current()


def shrink(images: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return images shrunk to a shape (height, width), each pixel a mean. On an Apple GPU sides have to divide."""
    has_to_divide = images.device.type == "mps" and any(a % b for a, b in zip(images.shape[2:], shape, strict=True))
    where = torch.device("cpu") if has_to_divide else images.device
    return adaptive_avg_pool2d(images.to(where), tuple(shape)).to(images.device)


def half_size(size: int, stride: int) -> int:
    """Return half of a side in pixels, rounded up to a multiple of the network's stride."""
    return -(-size // (2 * stride)) * stride


def glimpse_side(height: int, width: int, stride: int) -> int:
    """Return the side of a glimpse in pixels: a multiple of the network's stride, at most the image's shorter side."""
    shorter = min(height, width)
    wanted = max(SMALLEST, shorter // 4)
    return min(shorter, round_up(wanted, stride))


class _Evidence:
    """What the looks so far have shown of a batch of images.

    Attributes:
        side: of a glimpse, in pixels.
    """

    def __init__(
        self, network: Network, images: torch.Tensor, coarse_shape: Sequence[int], interest: Sequence[int]
    ) -> None:
        self.network, self.images, self.interest = network, images, interest
        self.side = glimpse_side(*images.shape[2:], network.stride)
        coarse = log_odds(network(shrink(images, coarse_shape)), interest)
        self.total = interpolate(coarse[:, None], size=images.shape[2:], mode="bilinear")[:, 0]
        self.looks = torch.ones_like(self.total)

    def add(self, places: torch.Tensor) -> None:
        """Glimpse at one place in each image; int (n, 2), top and left."""
        corners, side, rim = places.tolist(), self.side, self.side // RIM
        crops = [image[:, y : y + side, x : x + side] for image, (y, x) in zip(self.images, corners, strict=True)]
        found = log_odds(self.network(torch.stack(crops)), self.interest)
        height, width = self.images.shape[2:]
        for index, (y, x) in enumerate(corners):
            # At the edge of the image there is no context to cut off.
            top, left = rim * (y > 0), rim * (x > 0)
            bottom, right = side - rim * (y + side < height), side - rim * (x + side < width)
            rows, columns = slice(y + top, y + bottom), slice(x + left, x + right)
            self.total[index, rows, columns] += found[index, top:bottom, left:right]
            self.looks[index, rows, columns] += 1

    def current(self) -> torch.Tensor:
        """Return the evidence at each pixel, (n, H, W)."""
        return self.total / self.looks

    def most_promising(self) -> torch.Tensor:
        """Return the place with the most expected relevance in pixels that no glimpse has seen, int (n, 2)."""
        expected = torch.sigmoid(self.current()) * (self.looks == 1)
        stride, rim, (height, width) = self.network.stride, self.side // RIM, expected.shape[1:]
        inside = expected[:, None, rim : height - rim, rim : width - rim]
        sums = avg_pool2d(inside, self.side - 2 * rim, stride)  # (n, 1, places down, places across)
        best = sums.flatten(1).argmax(dim=1)
        return torch.stack([best // sums.shape[3], best % sums.shape[3]], dim=1) * stride
