"""Read one image or one label picture of any common format, whatever its file name claims."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from spatial_reduction.errors import InputError

IGNORED = 255  # label of pixels that belong to no class
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BITS_PER_SAMPLE, PLANAR_CONFIGURATION = 258, 284  # TIFF tags


@dataclass(frozen=True)
class Pair:
    """One image, its label picture, the group it is stratified by, and its official split if it has one."""

    name: str
    image: Path
    labels: Path
    group: str = ""
    official: str = ""


def decode_pair(
    pair: Pair,
    image_size: int,
    colour: str,
    label_map: Mapping[int, int],
    intensity_range: Sequence[float] | None,
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return a pair as `image_size` x `image_size` arrays.

    Returns:
        image: uint8 (H, W, 3) for colour "rgb" or (H, W, 1) for "grey"; bilinear resize.
        labels: uint8 (H, W), class indices, 255 where ignored; nearest-neighbour resize.
        digest: SHA-256 of the two files' bytes, hexadecimal.

    Raises:
        InputError: a file cannot be decoded, the two sizes differ, or a label value is not mapped.
    """
    image_bytes, label_bytes = _read_bytes(pair.image), _read_bytes(pair.labels)
    image = _decode(pair.image, image_bytes)
    raw = _single_channel(pair.labels, np.asarray(_decode(pair.labels, label_bytes)))
    if image.size != raw.shape[::-1]:
        raise InputError(
            f"{pair.image}: image is {image.width}x{image.height} but its labels "
            f"{pair.labels} are {raw.shape[1]}x{raw.shape[0]} pixels"
        )
    image = _as_uint8(image, colour, intensity_range)
    labels = map_labels(pair.labels, raw, label_map)
    size = (image_size, image_size)
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    classes = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    digest = hashlib.sha256(image_bytes + label_bytes).hexdigest()
    return pixels.reshape(image_size, image_size, -1), classes, digest


def read_image(path: Path, colour: str, intensity_range: Sequence[float] | None) -> Image.Image:
    """Return an image at its own size with 8 bits per channel, "RGB" for colour "rgb" or "L" for "grey".

    Raises:
        InputError: the file cannot be read or decoded.
    """
    return _as_uint8(_decode(path, _read_bytes(path)), colour, intensity_range)


def map_labels(path: Path, raw: np.ndarray, label_map: Mapping[int, int]) -> np.ndarray:
    """Return uint8 class indices for the raw label values; `label_map` is {raw value: class index}.

    Raises:
        InputError: `raw` holds a value that is not in the mapping.
    """
    values, inverse = np.unique(raw, return_inverse=True)
    unknown = [int(value) for value in values if int(value) not in label_map]
    if unknown:
        raise InputError(
            f"{path}: label values {unknown[:10]} belong to no class (dataset.classes, dataset.ignored_labels)"
        )
    table = np.array([label_map[int(value)] for value in values], dtype=np.uint8)
    return table[inverse].reshape(raw.shape)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _decode(path: Path, content: bytes) -> Image.Image:
    """Decode by content, not by suffix: a release may hold a GIF or a PNG that is named .jpg."""
    try:
        with Image.open(BytesIO(content)) as image:
            if not _is_deep_planar(image):
                image.load()
                return image.copy()
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        if not content.startswith(TIFF_MAGIC):
            raise InputError(f"{path}: cannot be decoded ({_reason(error)})") from error
    return _decode_tiff(path, content)


def _is_deep_planar(image: Image.Image) -> bool:
    """Whether this is a TIFF file of more than 8 bits with one plane per colour: Pillow misreads it in silence."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(PLANAR_CONFIGURATION) == 2 and max(tags.get(BITS_PER_SAMPLE, (8,))) > 8


def _decode_tiff(path: Path, content: bytes) -> Image.Image:
    """Decode the TIFF files that Pillow does not know or misreads, such as 16-bit colour in planes."""
    try:
        pixels = tifffile.imread(BytesIO(content))
        if pixels.ndim == 3 and pixels.shape[0] in (3, 4):
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.ndim == 3 and pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        return Image.fromarray(pixels)
    except Exception as error:
        raise InputError(f"{path}: cannot be decoded ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """Return an error's first line; Pillow's own for an unknown format holds a memory address."""
    if isinstance(error, UnidentifiedImageError):
        return "no known image format"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _single_channel(path: Path, raw: np.ndarray) -> np.ndarray:
    """Return labels as (H, W); a grey picture that was saved as RGB(A) is taken by its first channel."""
    if raw.ndim == 3:
        colours = raw[..., :3] if raw.shape[-1] >= 3 else raw[..., :1]
        if (colours != colours[..., :1]).any():
            raise InputError(f"{path}: labels must be one value per pixel, this picture is coloured")
        raw = colours[..., 0]
    if raw.dtype.kind == "f" and (raw != np.rint(raw)).any():
        raise InputError(f"{path}: labels must be whole numbers")
    return raw.astype(np.int64)


def _as_uint8(image: Image.Image, colour: str, intensity_range: Sequence[float] | None) -> Image.Image:
    """Return the image with 8 bits per channel; deeper grey values are scaled from `intensity_range`."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        low, high = intensity_range or (0, 65535)
        scaled = (np.asarray(image, dtype=np.float64) - low) * (255 / (high - low))
        image = Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
    return image.convert("RGB" if colour == "rgb" else "L")
