"""Apply masks to images: what the network sees where a pixel was removed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.labels import IGNORED
from spatial_reduction.masks.mask_file import open_mask

BLUR_SIGMA = 0.1  # of the image side: no outline survives
# Noisy linear imputation (ROAD, arXiv 2202.00449, section 4.2): weights of the eight neighbours, and the noise.
DIRECT, DIAGONAL = 1 / 6, 1 / 12
LINEAR_NOISE = 0.01  # standard deviation, of the range of values


@dataclass(frozen=True)
class Removal:
    """What a mask does to the images and labels of a training; keys of the section `reduction`.

    Attributes:
        fill: what an image shows where a pixel was removed, see `fill_removed`.
        removes: what removed pixels leave: `input`, `loss` (the images stay intact) or `input_and_loss`.
        intact_share: the per cent of the images of each batch that are intact.
        crop: whether the images of a batch are cut to the kept pixels, see `crop.Windows`.
    """

    fill: str = "black"
    removes: str = "input"
    intact_share: float = 0
    crop: bool = False

    @property
    def changes_images(self) -> bool:
        """Whether a removed pixel is taken out of the input; otherwise it is taken out of the loss only."""
        return self.removes != "loss"

    def made_visible(self) -> "Removal":
        """Return the same removal from the input: for an arm that leaves images intact, it shows what is kept."""
        return replace(self, removes="input")

    def apply(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        kept: np.ndarray,
        positions: Sequence[int],
        mean: Sequence[float],
        seed: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images and labels as a training on these masks gets them, before any normalisation.

        Args:
            images: uint8 (N, H, W, C).
            labels: uint8 (N, H, W).
            kept: bool (N, H, W).
            positions: of the images in their split, for `noise`.
            mean: of each channel, in [0, 1], for `mean`.
            seed: of `noise`.

        Returns:
            uint8 of the same shapes; the arrays themselves where nothing is removed from them.
        """
        if self.changes_images:
            images = fill_removed(images, kept, self.fill, mean, seed, positions)
        if self.removes != "input":
            labels = np.where(kept, labels, np.uint8(IGNORED))  # an ignored pixel leaves the loss
        return images, labels


def reduced_blocks(
    dataset: Dataset, mask: str | Path, removal: Removal, seed: int, carriers: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield (position, images as the network sees them, true labels) of the training split, a block at a time.

    Args:
        carriers: int (N_train,); image i is reduced by the mask of image `carriers[i]`, see `score_pixels.Scoring`.

    Raises:
        InputError: the mask file is damaged or made for other images.
    """
    with open_mask(mask, dataset.count("train"), dataset.image_shape[:2]) as masks:
        for block, images, labels in dataset.blocks("train"):
            kept, positions = masks.read(carriers[block]), range(block.start, block.stop)
            yield block, removal.apply(images, labels, kept, positions, dataset.mean, seed)[0], labels


def fill_removed(
    images: np.ndarray, kept: np.ndarray, fill: str, mean: Sequence[float], seed: int, positions: Sequence[int]
) -> np.ndarray:
    """Replace the removed pixels of uint8 images, before any normalisation.

    Args:
        images: uint8 (N, H, W, C).
        kept: bool (N, H, W).
        fill: `black` (0), `mean` (the training split's channel mean), `blur` (the image under a Gaussian of
            10 % of its side), `noise` (uniform, seeded by `seed` and the image's position), `linear` (smooth from
            kept pixel to kept pixel, see `impute`, and a little noise, seeded alike), or `mask`: nothing of the image
            is shown, kept pixels become 255 and removed ones 0.
        mean: of each channel, in [0, 1].
        positions: of the images in their split.

    Returns:
        uint8 (N, H, W, C); `images` itself where nothing is removed.
    """
    if kept.all():
        return images
    if fill == "mask":
        return np.repeat(np.where(kept[..., None], np.uint8(255), np.uint8(0)), images.shape[3], axis=3)
    return np.where(kept[..., None], images, _filling(images, kept, fill, mean, seed, positions))


def _filling(
    images: np.ndarray, kept: np.ndarray, fill: str, mean: Sequence[float], seed: int, positions: Sequence[int]
) -> np.ndarray:
    if fill == "black":
        return np.zeros(1, dtype=np.uint8)
    if fill == "mean":
        return np.rint(255 * np.array(mean)).astype(np.uint8)
    if fill == "blur":
        from scipy import ndimage  # imported here: no other fill needs it

        sigma = BLUR_SIGMA * images.shape[1]
        return ndimage.gaussian_filter(images, sigma=(0, sigma, sigma, 0), mode="nearest")
    generators = (np.random.default_rng((seed, position)) for position in positions)
    if fill == "linear":
        imputed = np.stack([impute(image, known, mean) for image, known in zip(images, kept, strict=True)])
        noise = np.stack([generator.standard_normal(images.shape[1:]) for generator in generators])
        return np.rint(imputed + 255 * LINEAR_NOISE * noise).clip(0, 255).astype(np.uint8)
    if fill == "noise":
        return np.stack([generator.integers(0, 256, images.shape[1:], dtype=np.uint8) for generator in generators])
    raise ValueError(f"fill: unknown {fill!r}")


def impute(image: np.ndarray, known: np.ndarray, mean: Sequence[float]) -> np.ndarray:
    """Return an image each of whose unknown pixels is the weighted mean of its neighbours, known and unknown ones.

    Pixels that share a side weigh 1/6, those that share a corner 1/12 (ROAD, arXiv 2202.00449); at the edge of the
    image, where some are missing, the others in proportion. These are as many linear equations as unknown pixels.

    Args:
        image: uint8 (H, W, C).
        known: bool (H, W).
        mean: of each channel, in [0, 1]: what an image without any known pixel becomes.

    Returns:
        float64 (H, W, C).
    """
    from scipy import sparse  # imported here: no other fill needs it
    from scipy.sparse.linalg import splu

    values = image.astype(np.float64)
    if known.all():
        return values
    if not known.any():
        return np.broadcast_to(255 * np.array(mean), image.shape)
    numbers = np.full(known.shape, -1)
    numbers[~known] = np.arange(np.count_nonzero(~known))
    size = numbers.max() + 1
    total, right = np.zeros(size), np.zeros((size, image.shape[2]))
    rows, columns, weights = [], [], []
    for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        weight = DIAGONAL if down and across else DIRECT
        steps = list(zip((down, across), known.shape, strict=True))
        here = tuple(slice(max(0, -step), length - max(0, step)) for step, length in steps)
        there = tuple(slice(max(0, step), length + min(0, step)) for step, length in steps)
        at, beside = numbers[here], numbers[there]
        is_asked = at >= 0
        total[at[is_asked]] += weight
        is_given = is_asked & (beside < 0)
        right[at[is_given]] += weight * values[there][is_given]
        is_unknown = is_asked & (beside >= 0)
        rows.append(at[is_unknown])
        columns.append(beside[is_unknown])
        weights.append(np.full(len(rows[-1]), -weight))
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    system = sparse.csc_matrix(entries, shape=(size, size)) + sparse.diags(total, format="csc")
    values[~known] = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right)
    return values
