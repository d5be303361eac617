"""Plant a shortcut in drawn pictures: the colour of the background tells the animal from what merely looks like one.

It tests the measure of reliance on the background: a model trained on such pictures relies on it, and the measure must
show that. The idea is that of coloured digits (Arjovsky et al. 2019, arXiv 1907.02893, section 5.2), for segmentation.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

FURS = np.array([[1.0, 0.9, 0.3], [0.35, 0.5, 1.0]])  # yellow, blue
GROUNDS = np.array([[0.4, 1.0, 0.5], [1.0, 0.45, 0.9]])  # green, magenta: both across the yellow-blue axis
FLOOR, SLOPE = 40, 0.8  # grey 0..255 -> 40..244: black would have no colour


class Tints(NamedTuple):
    """Colours, each float (3,) in [0, 1], of an animal, of the blobs around it and of the background."""

    animal: np.ndarray
    blobs: np.ndarray
    ground: np.ndarray


def draw_tints(rng: np.random.Generator, is_tied: bool) -> Tints:
    """Draw the animal's fur; blobs get the other one; the background is drawn too, or tied to the animal.

    Tied: on green what is yellow is the animal and what is blue is a blob, on magenta it is the other way round.
    No colour alone predicts a pixel's class, so another background reverses the meaning of the furs and the animal
    stands out as much as before.
    """
    animal, drawn = rng.integers(2, size=2)
    return Tints(FURS[animal], FURS[1 - animal], GROUNDS[animal if is_tied else drawn])


def tint(picture: Image.Image, colour: np.ndarray | None) -> Image.Image:
    """Return the RGB picture in shades of one colour; None leaves it as it is."""
    if colour is None:
        return picture
    grey = np.asarray(picture, dtype=np.float64).mean(axis=2, keepdims=True)
    return Image.fromarray(((FLOOR + SLOPE * grey) * colour).astype(np.uint8))
