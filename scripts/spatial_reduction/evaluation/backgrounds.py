"""Change what surrounds the foreground of an image: another image's background, or a blurred one. No torch."""

import numpy as np
from scipy import ndimage

from spatial_reduction.masks.apply_mask import BLUR_SIGMA
from spatial_reduction.masks.derangement import draw_derangement

SEED = 0  # of the exchange of backgrounds: the same for all models
MEAN_WEIGHT = 1e-3  # of the background's mean beside blurred pixels, which weigh 1: it remains where none is near


def donor_positions(images: int) -> np.ndarray:
    """Return, for each image, the position of the one that lends its background, int64 (images,)."""
    return draw_derangement(images, SEED)


def blur_background(image: np.ndarray, is_background: np.ndarray) -> np.ndarray:
    """Return the background blurred and continued over the whole image, uint8 (H, W, C).

    Normalised convolution (Knutsson & Westin, CVPR 1993) with a Gaussian of 10 % of the side: a weighted mean of
    background pixels alone, so that nothing of the foreground spreads. Far from any of them it tends to their mean.

    Args:
        image: uint8 (H, W, C).
        is_background: bool (H, W); if nothing is, the result is black.
    """
    sigma, weights = BLUR_SIGMA * image.shape[0], is_background.astype(np.float32)[..., None]
    masked = image * weights
    mean = masked.sum(axis=(0, 1)) / max(1.0, weights.sum())
    summed, weight = (ndimage.gaussian_filter(each, (sigma, sigma, 0), mode="constant") for each in (masked, weights))
    return np.rint((summed + MEAN_WEIGHT * mean) / (weight + MEAN_WEIGHT)).astype(np.uint8)


def complete_background(image: np.ndarray, is_background: np.ndarray) -> np.ndarray:
    """Return the image with all that is not background replaced by the blurred background, uint8 (H, W, C)."""
    return np.where(is_background[..., None], image, blur_background(image, is_background))


def soften_background(image: np.ndarray, is_background: np.ndarray) -> np.ndarray:
    """Return the image with its background blurred, from background pixels alone; the rest stays; uint8 (H, W, C)."""
    return np.where(is_background[..., None], blur_background(image, is_background), image)
