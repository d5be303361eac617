"""The prediction, extended to superpixels that look like what it found: parts of an animal as a whole."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from scipy.special import expit, logit
from skimage.color import rgb2lab
from skimage.filters import threshold_otsu
from skimage.segmentation import slic

from spatial_reduction.networks.base import Network
from spatial_reduction.saliency.base import Blocks, Context
from spatial_reduction.saliency.batched import score_batches
from spatial_reduction.saliency.probability import log_odds

# After ISESS (arXiv 2112.00665), see docs/methods.md; the numbers are this project's, for sides of 64 to 512 pixels.
PASSES = 3
FINEST = 32  # pixels of a superpixel in the first pass; twice as many in each pass after it
MOST = 1024  # superpixels of an image: a table of all their pairs is held
COMPACTNESS = 10.0  # units of CIELab that count as much as the side of a superpixel
MAP_WEIGHT = 50.0  # units of CIELab that a map's step from 0 to 1 counts: half the way from black to white
SPREAD = 10.0  # standard deviation of the Gaussian, in units of CIELab; 2.3 is a just noticeable difference

# Of the automata (Qin et al. 2015), from the authors' program.
STEPS = 5
VOTE = 0.15  # in log-odds
LEAST = 1 / 255  # of a map, and 1 minus the most: the authors' maps have 8 bits, and end before 0 and 1


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
    the smallest superpixels, the larger of two means: of the first map and of the passes as `vote` combines them. A
    map that is not a number somewhere comes back as NaN: whoever asked refuses it.
    """
    if not np.isfinite(relevance).all():
        return np.full(relevance.shape, np.nan, np.float32)
    lab, current, maps = rgb2lab(image), relevance, []
    count = min(relevance.size // FINEST, MOST)
    finest = divide(lab, relevance, max(1, count))
    for step in range(PASSES):
        segments = divide(lab, current, max(1, count >> step)) if step else finest
        current = compare_colours(current, lab, segments)
        maps.append(current)
    means = [region_means(values, finest) for values in (relevance, vote(np.stack(maps)))]
    return np.maximum(*means)[finest].astype(np.float32)


def divide(lab: np.ndarray, relevance: np.ndarray, count: int) -> np.ndarray:
    """Return the superpixel of each pixel, int (H, W), numbered 0, 1, ... without gaps; about `count` of them.

    SLIC (Achanta et al. 2012) on the colours and, as one more channel, the map: superpixels end where the map does,
    also where colours do not.

    Args:
        lab: float (H, W, 3).
        relevance: float (H, W), in [0, 1].
    """
    features = np.concatenate([lab, MAP_WEIGHT * relevance[..., None]], axis=2)
    compactness = COMPACTNESS / (np.ptp(features) or 1)  # scikit-image stretches the features to [0, 1]
    segments = slic(features, n_segments=count, compactness=compactness, start_label=0, channel_axis=-1)
    return np.unique(segments, return_inverse=True)[1].reshape(segments.shape)


def vote(maps: np.ndarray) -> np.ndarray:
    """Combine maps by multi-layer cellular automata: a cell moves towards what most maps find there.

    A pixel of each map is a cell, its neighbours are the same pixel of the other maps. In each of five steps, the
    log-odds of a cell rise by 0.15 for every neighbour above the Otsu threshold of its map and fall as much for every
    one below it. The result is the mean of the maps (Qin, Lu, Xu, Wang, CVPR 2015, section 3.3 (from memory)).

    Args:
        maps: float (M, H, W), in [0, 1].

    Returns:
        float (H, W), in (0, 1).
    """
    cells = logit(maps.clip(LEAST, 1 - LEAST))
    thresholds = logit(np.array([threshold_otsu(values) for values in maps]).clip(LEAST, 1 - LEAST))
    for _ in range(STEPS):
        votes = np.sign(cells - thresholds[:, None, None])
        cells += VOTE * (votes.sum(axis=0) - votes)
    return expit(cells).mean(axis=0)


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
    if np.ptp(means) == 0:
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
