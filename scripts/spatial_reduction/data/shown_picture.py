"""A picture as a network sees it: 8 bits per channel, grey or RGB."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spatial_reduction.data.picture_file import COLOURS, Picture, move_to_disk, read_picture
from spatial_reduction.runtime.errors import InputError

ALL = slice(None)
BILINEAR = Image.Resampling.BILINEAR


class ShownPicture:
    """A picture of a file whose blocks are made when they are asked for, so that a large one is in memory once.

    Samples of 8 bits or fewer are as they are. Grey of 16 bits is scaled from [0, 65535], colour of 16 bits keeps its
    upper 8; with `intensity_range` both, and all other numbers, are scaled from it. Constant alpha plays no part.

    Args:
        path: the file.
        page: place in a stack, from 0; None for a file of one picture.
        colour: "rgb" (3 channels) or "grey" (1, ITU-R 601 of colours).
        intensity_range: [low, high] that become 0 and 255.

    Attributes:
        picture: the samples.
        deep_range: least and greatest sample if they are deeper than 8 bits, else None.

    Raises:
        InputError: the file cannot be read, or it does not say what is to be shown of it.
    """

    def __init__(self, path: Path, page: int | None, colour: str, intensity_range: Sequence[float] | None) -> None:
        self.picture = read_picture(path, page)
        self.mode = "RGB" if colour == "rgb" else "L"
        self.intensity_range = intensity_range
        self.deep_range = self._require_showable()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.picture.size

    def move_to_disk(self, folder: Path) -> None:
        """Keep the samples in a file of `folder` without a name instead of in memory."""
        self.picture = move_to_disk(self.picture, folder)

    def block(self, rows: slice = ALL, columns: slice = ALL) -> np.ndarray:
        """Return a block of the picture, uint8 (h, w, 3) or (h, w, 1), a copy."""
        image = Image.fromarray(self._colours(self.picture.samples(rows, columns)))
        image = image if image.mode == self.mode else image.convert(self.mode)
        return np.array(image).reshape(image.height, image.width, -1)

    def resized(self, side: int) -> np.ndarray:
        """Return the whole picture resized bilinearly, whatever its shape, to a square: uint8 (side, side, C).

        Pillow resizes along rows, then along columns; a large picture comes in bands of rows, which gives the same.
        """
        bands = list(self.picture.bands())
        if len(bands) == 1:
            image = _image(self.block())
        else:
            narrow = [_image(self.block(rows)).resize((side, rows.stop - rows.start), BILINEAR) for rows in bands]
            image = Image.fromarray(np.concatenate([np.asarray(band) for band in narrow]))
        return np.array(image.resize((side, side), BILINEAR)).reshape(side, side, -1)

    def _colours(self, samples: np.ndarray) -> np.ndarray:
        """Return uint8 (h, w) or (h, w, 3) of samples as they are stored."""
        picture = self.picture
        samples = samples[..., : COLOURS[picture.colour]]
        if picture.colour == "palette":
            return picture.palette[samples[..., 0]]
        if samples.dtype == np.uint8:
            samples = samples * np.uint8(picture.step) if picture.step > 1 else samples
        elif self.intensity_range is None and samples.shape[2] > 1:
            samples = (samples >> 8).astype(np.uint8)
        else:
            low, high = self.intensity_range or (0, 65535)
            scaled = (samples.astype(np.float64) - low) * (255 / (high - low))
            samples = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        if picture.colour == "cmyk":
            return np.asarray(Image.fromarray(np.ascontiguousarray(samples), "CMYK").convert("RGB"))
        return np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)

    def _require_showable(self) -> tuple[float, float] | None:
        picture, path = self.picture, self.picture.path
        first = picture.samples(slice(0, 1))
        is_deep = first.dtype != np.uint8 and picture.colour != "palette"
        if picture.is_inverted:
            raise InputError(
                f"{path}: 0 is white in it (PhotometricInterpretation 0, MinIsWhite); programs disagree whether to "
                "turn it over: save it with 0 as black"
            )
        if picture.colour == "cmyk" and is_deep:
            raise InputError(f"{path}: CMYK of more than 8 bits is not read; save it as RGB")
        if first.dtype.kind not in "iuf":
            raise InputError(f"{path}: its samples ({first.dtype}) are not read; save it with 8 or 16 bits")
        if self.intensity_range is None and is_deep and first.dtype != np.uint16:
            raise InputError(
                f"{path}: holds numbers of the kind {first.dtype}, which have no natural black and white; say which "
                "become 0 and 255 by dataset.intensity_range"
            )
        if self.intensity_range is not None and picture.is_cut:
            raise InputError(
                f"{path}: {picture.inexact}, so dataset.intensity_range cannot be applied; save it as uncompressed TIFF"
            )
        if not is_deep and first.shape[2] == COLOURS[picture.colour] and picture.transparent is None:
            return None
        return self._scan(is_deep)

    def _scan(self, is_deep: bool) -> tuple[float, float] | None:
        """Look at all samples: further channels must be constant, floats numbers. Return the range of deep ones."""
        picture, lows, highs = self.picture, [], []
        count = COLOURS[picture.colour]
        hidden = None
        for rows in picture.bands():
            samples = picture.samples(rows)
            further = _with_transparency(picture, samples, count)
            hidden = further[0, 0] if hidden is None else hidden
            if (further != hidden).any():
                raise InputError(
                    f"{picture.path}: its {'alpha' if further.shape[2] == 1 else 'further'} channel varies, so what it "
                    f"shows is not in its {'colours' if count > 1 else 'grey values'} alone; save it as grey or RGB "
                    "without further channels"
                )
            if is_deep:
                if not np.isfinite(samples[..., :count]).all():
                    raise InputError(f"{picture.path}: holds values that are not a number")
                lows.append(samples[..., :count].min())
                highs.append(samples[..., :count].max())
        if picture.is_premultiplied and (hidden != _opaque(hidden.dtype)).any():
            raise InputError(f"{picture.path}: its colours are multiplied with alpha; save it without alpha")
        return (min(lows).item(), max(highs).item()) if is_deep else None


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _opaque(dtype: np.dtype) -> float:
    return 1 if dtype.kind == "f" else np.iinfo(dtype).max


def _with_transparency(picture: Picture, samples: np.ndarray, count: int) -> np.ndarray:
    """Return the channels beside the colours (h, w, n), and whether a pixel has the transparent colour."""
    further, transparent = samples[..., count:], picture.transparent
    if transparent is None:
        return further
    if isinstance(transparent, bytes):  # of each index of a palette; those beyond are opaque
        alpha = np.full(256, 255, dtype=np.uint8)
        alpha[: len(transparent)] = np.frombuffer(transparent, dtype=np.uint8)
        return np.concatenate([further, alpha[samples[..., :1]]], axis=2)
    is_clear = (samples[..., :count] * samples.dtype.type(picture.step) == np.array(transparent)).all(axis=2)
    return np.concatenate([further, is_clear[..., None].astype(samples.dtype)], axis=2)
