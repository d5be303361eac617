"""Six corruptions of an image at three severities. No torch.

Strengths are those of ImageNet-C (Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261; github.com/hendrycks/robustness)
at its severities 1, 3 and 5, for its Gaussian noise, Gaussian blur, brightness, contrast and JPEG; occlusion, which it
has not, is a square as in Cutout (DeVries & Taylor 2017, arXiv 1708.04552). They are made with NumPy, SciPy and Pillow:
importing torchvision takes longer than all else in a small evaluation, and its JPEG is deprecated.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

Corruption = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]

SEED = 0  # of the test images' noise and squares: the same for all models
SEVERITIES = (1, 2, 3)
IMAGENET_SIDE = 224  # pixels, for which ImageNet-C states its blur
SMALLEST_SIGMA = 0.4  # pixels, the weakest Gaussian blur of CIFAR-10-C; much less changes nothing
OCCLUDER = 128  # mid-grey: not the black that removed pixels become in training


def corrupt(image: np.ndarray, family: str, severity: int, position: int) -> np.ndarray:
    """Return one corrupted image, uint8 (H, W, C); equal arguments give equal bytes.

    Args:
        image: uint8 (H, W, C), C = 1 or 3.
        family: a key of `CORRUPTIONS`.
        severity: 1, 2 or 3.
        position: of the image in its split; noise and squares are drawn from it.
    """
    apply, strengths = CORRUPTIONS[family]
    corrupted = apply(image, strengths[severity - 1], np.random.default_rng((SEED, position)))
    return np.clip(np.rint(corrupted), 0, 255).astype(np.uint8)


def add_noise(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise with a standard deviation of `strength` times the range of values."""
    return image + 255 * strength * rng.standard_normal(image.shape, dtype=np.float32)


def blur(image: np.ndarray, strength: float, _rng: np.random.Generator) -> np.ndarray:
    """Blur with a Gaussian of `strength` pixels in an image of side 224, in proportion in others, at least 0.4."""
    sigma = max(SMALLEST_SIGMA, strength * image.shape[0] / IMAGENET_SIDE)
    return ndimage.gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), mode="mirror")


def brighten(image: np.ndarray, strength: float, _rng: np.random.Generator) -> np.ndarray:
    """Raise the value of HSV colour by `strength` of its range, up to the top; hue and saturation stay."""
    value = image.max(axis=2, keepdims=True).astype(np.float32)
    raised = np.minimum(value + 255 * strength, 255)
    return np.where(value > 0, image * (raised / np.maximum(value, 1)), raised)


def lower_contrast(image: np.ndarray, strength: float, _rng: np.random.Generator) -> np.ndarray:
    """Shrink the distance of every value to its channel's mean in the image to `strength` of what it was."""
    mean = image.mean(axis=(0, 1))
    return mean + strength * (image - mean)


def compress(image: np.ndarray, strength: float, _rng: np.random.Generator) -> np.ndarray:
    """Encode as JPEG of the quality `strength` and decode."""
    encoded = BytesIO()
    Image.fromarray(image.squeeze()).save(encoded, "JPEG", quality=round(strength))
    return np.asarray(Image.open(encoded)).reshape(image.shape)


def occlude(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Cover a square whose side is `strength` of the image's; it lies in the image, anywhere."""
    side = round(strength * image.shape[0])
    top, left = (int(rng.integers(0, size - side + 1)) for size in image.shape[:2])
    occluded = image.copy()
    occluded[top : top + side, left : left + side] = OCCLUDER
    return occluded


CORRUPTIONS: dict[str, tuple[Corruption, tuple[float, float, float]]] = {
    "noise": (add_noise, (0.08, 0.18, 0.38)),
    "blur": (blur, (1, 3, 6)),
    "brightness": (brighten, (0.1, 0.3, 0.5)),
    "contrast": (lower_contrast, (0.4, 0.2, 0.05)),
    "jpeg": (compress, (25, 15, 7)),
    "occlusion": (occlude, (0.25, 0.375, 0.5)),  # half the side is Cutout's square for CIFAR-10
}
