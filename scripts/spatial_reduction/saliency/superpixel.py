"""The prediction, extended to superpixels that look like what it found: parts of an animal as a whole."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from skimage.color import rgb2lab
from skimage.filters import threshold_otsu
from skimage.segmentation import slic

from spatial_reduction.networks.base import Network
from spatial_reduction.saliency.base import Blocks, Context
from spatial_reduction.saliency.batched import score_batches
from spatial_reduction.saliency.probability import log_odds

# After ISESS (arXiv 2112.00665); the numbers are this project's, for pictures of 64 to 512 pixels a side.
PASSES = 3
FINEST = 32  # pixels of a superpixel in the first pass; twice as many in each pass after it
MOST = 1024  # superpixels of an image: a table of all their pairs is held
COMPACTNESS = 10.0
SPREAD = 10.0  # standard deviation of the Gaussian, in units of CIELab; 2.3 is a just noticeable difference


def stream_scores(blocks: Blocks, context: Context) -> Iterator[np.ndarray]:
    """Yield the refined probability of the classes of interest, float32 (n, H, W), in [0, 1], equal in a superpixel."""
    return score_batches(blocks, context, partial(score_superpixels, classes_of_interest=context.classes_of_interest))


def score_superpixels(network: Network, images: torch.Tensor, classes_of_interest: Sequence[int]) -> torch.Tensor:
    """Return the refined map of each image; float (n, C, H, W) -> (n, H, W)."""
    with torch.inference_mode():
        relevance = torch.sigmoid(log_odds(network(images), classes_of_interest)).cpu().numpy()
    pixels = images.permute(0, 2, 3, 1).cpu().numpy()
    colours = np.broadcast_to(pixels, (*pixels.shape[:3], 3))  # a grey image as one of three equal channels
    return torch.from_numpy(np.stack([refine(*pair) for pair in zip(relevance, colours, strict=True)]))


def refine(relevance: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the refined map; float (H, W) in [0, 1] and image float (H, W, 3) in [0, 1] -> float32 (H, W).

    Three passes over ever fewer and larger superpixels, each from the map of the one before. The result is, in each of
    the smallest superpixels, the larger of two means: of the first map and of the average over the passes.
    """
    lab, current, maps = rgb2lab(image), relevance, []
    count = min(relevance.size // FINEST, MOST)
    divisions = [divide(image, max(1, count >> step)) for step in range(PASSES)]
    for segments in divisions:
        current = compare_colours(current, lab, segments)
        maps.append(current)
    finest = divisions[0]
    means = [region_means(values, finest) for values in (relevance, np.mean(maps, axis=0))]
    return np.maximum(*means)[finest].astype(np.float32)


def divide(image: np.ndarray, count: int) -> np.ndarray:
    """Return the superpixel of each pixel, int (H, W), numbered 0, 1, ... without gaps; about `count` of them.

    SLIC (Achanta et al. 2012).
    """
    segments = slic(image, n_segments=count, compactness=COMPACTNESS, start_label=0, channel_axis=-1)
    return np.unique(segments, return_inverse=True)[1].reshape(segments.shape)


def compare_colours(relevance: np.ndarray, lab: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return, for each pixel, how much its superpixel looks like the foreground rather than the background.

    Superpixels whose mean relevance is above Otsu's threshold are foreground queries, the others background queries. A
    superpixel's score is its mean Gaussian similarity of mean CIELab colour to the former minus that to the
    latter, stretched to [0, 1] over the image. A map, or an image, that is flat comes back as means over superpixels.

    Args:
        relevance: float (H, W).
        lab: float (H, W, 3).
        segments: int (H, W).
    """
    means = region_means(relevance, segments)
    if not np.isfinite(means).all() or np.ptp(means) == 0:
        return means[segments]
    is_foreground = means > threshold_otsu(means)
    colours = np.stack([region_means(channel, segments) for channel in np.moveaxis(lab, -1, 0)], axis=1)
    squares = (colours**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * colours @ colours.T  # of all pairs, squared
    similarity = np.exp(-distances / (2 * SPREAD**2))
    scores = similarity[:, is_foreground].mean(axis=1) - similarity[:, ~is_foreground].mean(axis=1)
    span = np.ptp(scores)
    return ((scores - scores.min()) / span if span > 1e-6 else means)[segments]


def region_means(values: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return the mean of each superpixel, float64 (superpixels,)."""
    flat = segments.reshape(-1)
    return np.bincount(flat, weights=values.reshape(-1)) / np.bincount(flat)
