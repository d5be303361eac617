"""Find duplicates among the images of a data set: the same file, or nearly the same picture."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

THUMBNAIL = 16  # side in pixels
DETAIL = 64  # side of the image that windows are cut from
BLOCK = 1 << 24  # correlations at a time
# Of 400 pets, the pairs that the eye takes for one photo correlate with 0.97 and more, all others with 0.91 and less;
# of 120 pictures of nuclei with 0.51 and less, of 30 neighbouring slices of a stack with 0.82 and less.
ALIKE = 0.95
# ... and so they must without what all images share, such as the place of a lung: in that, all are alike.
ALIKE_BEYOND_MEAN = 0.9
CANDIDATE = 0.8  # correlation of whole images, below which no windows are tried
SCALES = (1, 0.92, 0.84, 0.76)  # sides of a window, relative to the image: another cut of the same photo
PLACES = (0, 0.5, 1)


def find_twins(digests: Sequence[str], read: Callable[[int], np.ndarray], is_near: bool) -> list[list[int]]:
    """Return groups of positions of images that are the same: [[0, 7], [3, 4, 9]], each sorted.

    Args:
        digests: of each image's file; equal ones are the same image.
        read: position -> image, uint8 (H, W, C).
        is_near: whether images that look alike are the same, too: their thumbnails correlate, or that of the one with
            that of a part of the other.
    """
    groups = _Groups(len(digests))
    first: dict[str, int] = {}
    for position, digest in enumerate(digests):
        groups.join(position, first.setdefault(digest, position))
    if is_near:
        for one, other in _near_twins(read, len(digests)):
            groups.join(one, other)
    return groups.several()


def _near_twins(read: Callable[[int], np.ndarray], count: int) -> Iterator[tuple[int, int]]:
    raw = np.stack([_thumbnail(_grey(read(position))) for position in range(count)])
    mean = raw.mean(axis=0)
    whole, beyond = _normalised(raw), _normalised(raw - mean)
    rows = max(1, BLOCK // count)
    for start in range(0, count, rows):
        found = whole[start : start + rows] @ whole.T > CANDIDATE
        found[np.arange(len(found)), np.arange(start, start + len(found))] = False
        for position in np.flatnonzero(found.any(axis=1)):
            others = np.flatnonzero(found[position])
            windows = np.stack(list(_windows(_grey(read(start + position)))))
            is_alike = (_normalised(windows) @ whole[others].T >= ALIKE) & (
                _normalised(windows - mean) @ beyond[others].T >= ALIKE_BEYOND_MEAN
            )
            yield from ((start + int(position), int(other)) for other in others[is_alike.any(axis=0)])


def _grey(image: np.ndarray) -> Image.Image:
    """Return the mean of the channels, DETAIL pixels square."""
    return Image.fromarray(image.mean(axis=2).astype(np.float32)).resize((DETAIL, DETAIL), Image.Resampling.BILINEAR)


def _thumbnail(image: Image.Image, box: tuple[float, ...] | None = None) -> np.ndarray:
    """Return float32 (THUMBNAIL ** 2,), of mean 0."""
    small = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, box=box)).reshape(-1)
    return small - small.mean()


def _windows(image: Image.Image) -> Iterator[np.ndarray]:
    for width in SCALES:
        for height in SCALES:
            for right in PLACES if width < 1 else (0,):
                for down in PLACES if height < 1 else (0,):
                    left, top = DETAIL * (1 - width) * right, DETAIL * (1 - height) * down
                    yield _thumbnail(image, (left, top, left + DETAIL * width, top + DETAIL * height))


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """Return rows of length 1; for a uniform image 0, which correlates with none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-3)


class _Groups:
    """Disjoint sets of positions."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def root(self, position: int) -> int:
        while self.parent[position] != position:
            self.parent[position] = self.parent[self.parent[position]]
            position = self.parent[position]
        return position

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self.parent[high] = low

    def several(self) -> list[list[int]]:
        members: dict[int, list[int]] = {}
        for position in range(len(self.parent)):
            members.setdefault(self.root(position), []).append(position)
        return [group for group in members.values() if len(group) > 1]
