"""Six corruptions of images at three severities. No torch.

Noise, blur, brightness, contrast and JPEG are those of Hendrycks & Dietterich (ICLR 2019, arXiv 1903.12261;
github.com/hendrycks/robustness) at their severities 1, 3 and 5, and as strong as the authors make them for images of
that size: ImageNet-C for 224 pixels, Tiny-ImageNet-C for 64, CIFAR-10-C for 32. Occlusion, not among theirs, is a
square as in Cutout (DeVries & Taylor 2017, arXiv 1708.04552). They are made with NumPy, SciPy and Pillow: importing
torchvision takes longer than all else in a small evaluation, and its JPEG is deprecated.
"""

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

Corruption = Callable[[np.ndarray, float, Sequence[int]], np.ndarray]

SEED = 0  # of the test images' noise and squares: the same for all models
SEVERITIES = (1, 2, 3)
SMALLEST_SIGMA = 0.4  # pixels, the weakest Gaussian blur of CIFAR-10-C; much less changes nothing
OCCLUDER = 128  # mid-grey: not the black that removed pixels become in training


def corrupt(images: np.ndarray, family: str, severity: int, positions: Sequence[int]) -> np.ndarray:
    """Return corrupted images, uint8 (N, H, W, C); an image's result does not depend on those beside it.

    Args:
        images: uint8 (N, H, W, C), C = 1 or 3.
        family: a key of `CORRUPTIONS`.
        severity: 1, 2 or 3.
        positions: of the images in their split; each one's noise or square is seeded by its position.
    """
    strength = find_strength(family, severity, min(images.shape[1:3]))
    corrupted = CORRUPTIONS[family](images, strength, positions)
    return np.rint(corrupted.clip(0, 255)).astype(np.uint8)


def find_strength(family: str, severity: int, side: int) -> float:
    """Return how strong a corruption is in images whose shorter side is `side` pixels.

    It is the authors' for the largest of their image sizes that does not exceed `side`. Blur, which is in pixels, grows
    in proportion to the rest.
    """
    reference = max((size for size in STRENGTHS if size <= side), default=min(STRENGTHS))
    strength = STRENGTHS[reference][family][severity - 1]
    return max(SMALLEST_SIGMA, strength * side / reference) if family == "blur" else strength


def add_noise(images: np.ndarray, strength: float, positions: Sequence[int]) -> np.ndarray:
    """Add normal noise with a standard deviation of `strength` times the range of values."""
    noise = [_generator(position).standard_normal(images.shape[1:], dtype=np.float32) for position in positions]
    return images + np.float32(255 * strength) * np.stack(noise)


def blur(images: np.ndarray, strength: float, _positions: Sequence[int]) -> np.ndarray:
    """Blur with a Gaussian whose standard deviation is `strength` pixels."""
    return ndimage.gaussian_filter(images.astype(np.float32), (0, strength, strength, 0), mode="mirror")


def brighten(images: np.ndarray, strength: float, _positions: Sequence[int]) -> np.ndarray:
    """Raise the value of HSV colour by `strength` of its range, up to the top; hue and saturation stay."""
    value = images.max(axis=3, keepdims=True).astype(np.float32)
    raised = np.minimum(value + np.float32(255 * strength), 255)
    return np.where(value > 0, images * (raised / np.maximum(value, 1)), raised)


def lower_contrast(images: np.ndarray, strength: float, _positions: Sequence[int]) -> np.ndarray:
    """Shrink the distance of every value to its channel's mean in the image to `strength` of what it was."""
    mean = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return mean + np.float32(strength) * (images - mean)


def compress(images: np.ndarray, strength: float, _positions: Sequence[int]) -> np.ndarray:
    """Encode as JPEG of the quality `strength` and decode."""
    return np.stack([_through_jpeg(image, round(strength)) for image in images])


def occlude(images: np.ndarray, strength: float, positions: Sequence[int]) -> np.ndarray:
    """Cover a square whose side is `strength` of the image's; it lies in the image, anywhere."""
    side, occluded = round(strength * images.shape[1]), images.copy()
    for image, position in zip(occluded, positions, strict=True):
        rng = _generator(position)
        top, left = (int(rng.integers(0, size - side + 1)) for size in image.shape[:2])
        image[top : top + side, left : left + side] = OCCLUDER
    return occluded


def _generator(position: int) -> np.random.Generator:
    return np.random.default_rng((SEED, position))


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    encoded = BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(encoded, "JPEG", quality=quality)
    return np.asarray(Image.open(encoded, formats=["JPEG"])).reshape(image.shape)


CORRUPTIONS: dict[str, Corruption] = {
    "noise": add_noise,
    "blur": blur,
    "brightness": brighten,
    "contrast": lower_contrast,
    "jpeg": compress,
    "occlusion": occlude,
}
OCCLUSION = (0.25, 0.375, 0.5)  # half the side is Cutout's square for CIFAR-10
# By the side of the images that the authors state them for, in pixels.
STRENGTHS: dict[int, dict[str, tuple[float, float, float]]] = {
    224: {
        "noise": (0.08, 0.18, 0.38),
        "blur": (1, 3, 6),
        "brightness": (0.1, 0.3, 0.5),
        "contrast": (0.4, 0.2, 0.05),
        "jpeg": (25, 15, 7),
        "occlusion": OCCLUSION,
    },
    64: {
        "noise": (0.04, 0.12, 0.18),
        "blur": (0.5, 1, 1.5),
        "brightness": (0.1, 0.3, 0.5),
        "contrast": (0.4, 0.2, 0.05),
        "jpeg": (65, 50, 25),
        "occlusion": OCCLUSION,
    },
    32: {
        "noise": (0.04, 0.08, 0.1),
        "blur": (0.4, 0.7, 1),
        "brightness": (0.05, 0.15, 0.3),
        "contrast": (0.75, 0.4, 0.15),
        "jpeg": (80, 58, 40),
        "occlusion": OCCLUSION,
    },
}
# Test protocols by name: noise_1 .. occlusion_3 -> (family, severity).
CORRUPTED = {f"{family}_{severity}": (family, severity) for family in CORRUPTIONS for severity in SEVERITIES}
