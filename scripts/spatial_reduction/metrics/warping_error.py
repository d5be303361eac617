"""Warping error (Jain et al., CVPR 2010): what stays wrong when borders may move but no object may split or merge.

Objects hang together by edges (4-connected), what lies between them by edges or corners (8-connected), and what lies
beyond the image belongs to the latter. The connectivities are those of the paper for images in two dimensions (from
memory). No torch.
"""

import numpy as np
from scipy import ndimage

# How far a border may move, in pixels. The paper allows for such a constraint; its size is our choice.
REACH = 5
# Row and column of the neighbours, counter-clockwise from the right: bit k of a neighbourhood's number is neighbour k.
RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def simple_points() -> np.ndarray:
    """Tell for each of the 256 neighbourhoods whether the pixel in the middle can change without a change of topology.

    That is so where exactly one 4-connected piece of foreground touches the pixel by an edge: where the crossing
    number of Yokoi et al. 1975, the sum over the four edge neighbours x_k of x_k - x_k x_(k+1) x_(k+2), is 1.

    Returns:
        bool (256,).
    """
    x = (np.arange(256)[:, None] >> np.arange(8)) & 1
    crossings = sum(x[:, k] - x[:, k] * x[:, k + 1] * x[:, (k + 2) % 8] for k in range(0, 8, 2))
    return crossings == 1


SIMPLE = simple_points()


def warp(truth: np.ndarray, found: np.ndarray, reach: int = REACH) -> np.ndarray:
    """Move the borders of `truth` towards `found` as far as its topology and the reach allow.

    Simple points on which the two differ are flipped until there is none left: greedily, so that a border cannot pass
    over pixels on which the two agree. Those of which no two are neighbours (every second column of every second row)
    are flipped at once, which is the same as one after the other.

    Args:
        truth, found: bool (H, W).
        reach: flipped pixels lie within this Euclidean distance of the other side of a border of `truth`, in pixels.

    Returns:
        bool (H, W).
    """
    image, goal = np.pad(truth, 1), np.pad(found, 1)
    width, is_near = image.shape[1], _border_distance(image) <= reach
    offsets = [row * width + column for row, column in RING]
    flat, wanted = image.reshape(-1), goal.reshape(-1)
    differing = np.flatnonzero((flat != wanted) & is_near.reshape(-1))
    field = differing // width % 2 * 2 + differing % width % 2
    fields = [differing[field == index] for index in range(4)]
    has_moved = True
    while has_moved:
        has_moved = False
        for index, pixels in enumerate(fields):
            around = sum(flat[pixels + offset].astype(np.intp) << bit for bit, offset in enumerate(offsets))
            is_simple = SIMPLE[around]
            flat[pixels[is_simple]] = wanted[pixels[is_simple]]
            fields[index] = pixels[~is_simple]
            has_moved |= bool(is_simple.any())
    return image[1:-1, 1:-1]


def warping_differences(truth: np.ndarray, found: np.ndarray, reach: int = REACH) -> int:
    """Count the pixels in which the warped truth differs from what was found; arguments as `warp`."""
    return int((warp(truth, found, reach) != found).sum())


def _border_distance(image: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel to the nearest one of the other kind, float64 (H, W); 1 at a border."""
    inside, outside = ndimage.distance_transform_edt(image), ndimage.distance_transform_edt(~image)
    return np.where(image, inside, outside)
