"""Read a picture of any common format, whatever its file name claims."""

from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from spatial_reduction.runtime.errors import InputError

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BITS_PER_SAMPLE, PLANAR_CONFIGURATION = 258, 284  # TIFF tags
MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # 179 million; a larger picture Pillow takes for a decompression bomb
MOST_BYTES = 1 << 31  # of the file of one picture, which is read whole; 179 million pixels of 64 bits have 1.4 GB


def count_pages(path: Path) -> int:
    """Return how many pictures a file holds.

    Raises:
        InputError: the file is missing or cannot be decoded.
    """
    _require_file(path)
    try:
        with Image.open(path) as stack:
            return getattr(stack, "n_frames", 1)
    except Exception as error:
        raise InputError(f"{path}: cannot be decoded ({_reason(error)})") from error


def read_picture(path: Path, page: int | None) -> tuple[Image.Image, bytes]:
    """Return a picture and what its digest is of: its file's bytes, or its pixels if the file is a stack.

    Args:
        page: place in the stack, from 0; None for a file of one picture.

    Raises:
        InputError: the file is missing or cannot be decoded, or it is a stack and no page is asked for.
    """
    if page is None:
        content = _read_bytes(path)
        return _decode(path, content), content
    _require_file(path)
    try:
        with Image.open(path) as stack:  # reads this page alone
            stack.seek(page)
            picture = stack.copy()
    except Exception as error:
        raise InputError(f"{path}: slice {page} cannot be decoded ({_reason(error)})") from error
    return picture, picture.tobytes()


def _require_file(path: Path) -> None:
    """Refuse a device or a named pipe, whose reading may never end; a link to a file is one."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a file")


def _read_bytes(path: Path) -> bytes:
    try:
        _require_file(path)
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: its {size} bytes are more than a picture may have, {MOST_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _decode(path: Path, content: bytes) -> Image.Image:
    """Decode by content, not by suffix: a release may hold a GIF or a PNG that is named .jpg."""
    try:
        with Image.open(BytesIO(content)) as image:
            if image.format == "TIFF":
                _require_one_page(path, image.n_frames)
            if not _is_deep_planar(image):
                image.load()
                return image.copy()
    except InputError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        if isinstance(error, Image.DecompressionBombError) or not content.startswith(TIFF_MAGIC):
            raise InputError(f"{path}: cannot be decoded ({_reason(error)})") from error
    return _decode_tiff(path, content)


def _is_deep_planar(image: Image.Image) -> bool:
    """Whether this is a TIFF file of more than 8 bits with one plane per colour: Pillow misreads it in silence."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(PLANAR_CONFIGURATION) == 2 and max(tags.get(BITS_PER_SAMPLE, (8,))) > 8


def _decode_tiff(path: Path, content: bytes) -> Image.Image:
    """Decode the TIFF files that Pillow does not know or misreads, such as 16-bit colour in planes."""
    try:
        with tifffile.TiffFile(BytesIO(content)) as file:
            _require_one_page(path, len(file.pages))
            count = sum(page.imagewidth * page.imagelength for page in file.pages)
            if count > MOST_PIXELS:
                raise ValueError(f"{count} pixels are more than {MOST_PIXELS}, could be a decompression bomb")
            pixels = file.asarray()
        if pixels.ndim == 3 and pixels.shape[0] in (3, 4):
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.ndim == 3 and pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        return Image.fromarray(pixels)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: cannot be decoded ({_reason(error)})") from error


def _require_one_page(path: Path, count: int) -> None:
    """Refuse a volume: its first page alone would be taken in silence."""
    if count > 1:
        raise InputError(f"{path}: holds {count} pages, where a picture is wanted; volumes are not read")


def _reason(error: Exception) -> str:
    """Return an error's first line; Pillow's own for an unknown format holds a memory address."""
    if isinstance(error, UnidentifiedImageError):
        return "no known image format"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
