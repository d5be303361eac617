"""Read a picture as it was stored, or refuse it by name: PNG, JPEG, TIFF, GIF and BMP, whatever the suffix claims."""

import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from spatial_reduction.runtime.errors import InputError

FORMATS = ("PNG", "JPEG", "GIF", "BMP")  # and TIFF; Pillow would start Ghostscript for PostScript that is named .png
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_PIXELS = 178_956_970  # of a picture; a larger one could be a decompression bomb
MOST_SAMPLE_BYTES = 4 * MOST_PIXELS  # of its samples: four channels of 8 bits, two of 16, one of 32
MOST_BYTES = 1 << 31  # of the file of one picture
BAND_PIXELS = 1 << 22  # of the rows that are handled at a time
COLOURS = {"grey": 1, "palette": 1, "rgb": 3, "cmyk": 4}  # channels that show something; others are alpha, or unknown
MODES = {"1": "grey", "L": "grey", "LA": "grey", "P": "palette", "PA": "palette", "RGB": "rgb", "RGBA": "rgb"}
MODES |= {"CMYK": "cmyk", "I": "grey", "F": "grey", "I;16": "grey", "I;16B": "grey", "I;16L": "grey", "I;16N": "grey"}
ORIENTATION = 274  # the tag of EXIF and TIFF
PHOTOMETRIC = {0: "grey", 1: "grey", 2: "rgb", 3: "palette", 5: "cmyk"}
LOSSLESS = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000}  # TIFF compressions that keep every bit
DECODED_HERE = {1, 8, 32773, 32946, 34925}  # by tifffile alone, any kind of samples; Pillow decodes others, some kinds
PREMULTIPLIED = 1  # of the TIFF tag ExtraSamples; 2 is straight alpha
# EXIF orientation -> (are rows and columns exchanged, then: are rows turned round, are columns). 6 is a quarter turn.
TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}

# The limits are those above. Pillow's own would warn, on the terminal, of pictures that are allowed.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Picture:
    """A decoded picture: samples as the file stores them, turned as its orientation asks.

    Attributes:
        path: the file.
        stored: the samples, any number (H, W, C), or Pillow's picture, not turned: another copy would not fit.
        colour: "grey", "palette" (the samples are indices), "rgb" or "cmyk"; further channels are alpha, or unknown.
        orientation: 1 to 8, as EXIF numbers them.
        palette: uint8 (n, 3) of a palette.
        step: what a grey sample of n bits is multiplied with to be one of 8: 255, 85, 17 or 1.
        is_inverted: whether 0 is white in the file (TIFF's MinIsWhite) ...
        is_turned_over: ... and Pillow gave 255 for it, so that `samples` undoes it.
        is_premultiplied: whether the colours were multiplied with alpha.
        transparent: the index, the colour or the alpha of each index that PNG or GIF declare transparent.
        inexact: why the samples are not those of the file, bit by bit; "" if they are.
        is_cut: whether they are its upper 8 bits.
    """

    path: Path
    stored: "np.ndarray | Image.Image | _OnDisk"
    colour: str
    orientation: int = 1
    palette: np.ndarray | None = None
    step: int = 1
    is_inverted: bool = False
    is_turned_over: bool = False
    is_premultiplied: bool = False
    transparent: int | bytes | tuple[int, ...] | None = None
    inexact: str = ""
    is_cut: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) as it is shown."""
        if isinstance(self.stored, Image.Image):
            width, height = self.stored.size
        else:
            height, width = self.stored.shape[:2]
        return (width, height) if TURNS[self.orientation][0] else (height, width)

    def bands(self) -> Iterator[slice]:
        """Yield runs of rows, of BAND_PIXELS pixels at most, or one row."""
        height, width = self.size
        step = max(1, BAND_PIXELS // width)
        for start in range(0, height, step):
            yield slice(start, min(start + step, height))

    def samples(self, rows: slice, columns: slice = slice(None)) -> np.ndarray:
        """Return a block of the picture as it is shown: (h, w, C), each sample as it is stored."""
        is_transposed, *turned = TURNS[self.orientation]
        spans = [
            _turned(some.indices(length)[:2], length) if is_turned else some.indices(length)[:2]
            for some, length, is_turned in zip((rows, columns), self.size, turned, strict=True)
        ]
        (top, bottom), (left, right) = reversed(spans) if is_transposed else spans
        if not isinstance(self.stored, Image.Image):
            block = self.stored[top:bottom, left:right]
        else:
            block = np.asarray(self.stored.crop((left, top, right, bottom)))
            block = block.reshape(bottom - top, right - left, -1)
            if block.dtype == bool:
                block = block.astype(np.uint8)
            elif self.step > 1:
                block = block // np.uint8(self.step)
            if self.is_turned_over:
                block = np.uint8(255 // self.step) - block
        block = block.swapaxes(0, 1) if is_transposed else block
        return block[:: -1 if turned[0] else 1, :: -1 if turned[1] else 1]


def _turned(span: Sequence[int], length: int) -> tuple[int, int]:
    return length - span[1], length - span[0]


class _OnDisk:
    """Samples (H, W, C) in a file; a block of them is read when it is asked for."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self.file, self.shape, self.dtype = file, shape, dtype
        weakref.finalize(self, file.close)

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
        # Mapped anew each time: what has been read of a mapping counts as memory of the process.
        return np.array(np.memmap(self.file, self.dtype, "r", shape=self.shape)[place])


def move_to_disk(picture: Picture, folder: Path) -> Picture:
    """Return the same picture with its samples in a file of `folder` that has no name and goes with the picture."""
    first = picture.samples(slice(0, 1))
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (open as long as the picture is in use)
    for rows in picture.bands():
        np.ascontiguousarray(picture.samples(rows)).tofile(file)
    shape = (*picture.size, first.shape[2])
    return replace(picture, stored=_OnDisk(file, shape, first.dtype), orientation=1, is_turned_over=False)


def count_pages(path: Path) -> int:
    """Return how many pictures a TIFF file holds.

    Raises:
        InputError: the file is missing, is no TIFF file or cannot be decoded.
    """
    _require_tiff(path, _first_bytes(path))
    try:
        with tifffile.TiffFile(path) as file:
            _require_pages_listed(path, file)
            return len(file.pages)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: cannot be decoded ({_reason(error)})") from error


def count_pixels(path: Path) -> int:
    """Return how many pixels a picture, or the first one of a stack, says that it has; 0 if it does not say."""
    try:
        if _first_bytes(path).startswith(TIFF_MAGIC):
            with tifffile.TiffFile(path) as file:
                page = file.pages[0]
                return page.imagewidth * page.imagelength
        with Image.open(path, formats=FORMATS) as image:
            return image.width * image.height
    except Exception:  # read_picture names it
        return 0


def read_picture(path: Path, page: int | None) -> Picture:
    """Return a picture.

    Args:
        page: place in the stack, from 0; None for a file of one picture.

    Raises:
        InputError: the file is missing, is of another format, cannot be decoded or read correctly, or it is a stack and
            no page is asked for.
    """
    start = _first_bytes(path)
    try:
        if page is not None or start.startswith(TIFF_MAGIC):
            _require_tiff(path, start)
            return _read_tiff(path, page)
        with Image.open(path, formats=FORMATS) as image:
            _require_one_frame(path, image)
            _require_size(path, image.width, image.height, len(image.getbands()))
            image.load()
            return _of_pillow(path, image, start)
    except InputError:
        raise
    except Exception as error:  # Pillow and tifffile raise OSError, SyntaxError, ValueError, struct.error ...
        what = "" if page is None else f"slice {page} "
        known = "; PNG, JPEG, TIFF, GIF and BMP are read" if isinstance(error, UnidentifiedImageError) else ""
        raise InputError(f"{path}: {what}cannot be decoded ({_reason(error)}){known}") from error


def _of_pillow(path: Path, image: Image.Image, start: bytes) -> Picture:
    """Return a loaded PNG, JPEG, GIF or BMP."""
    if image.mode not in MODES:
        raise InputError(f"{path}: its colours ({image.mode}) are not read; save it as grey or RGB")
    step, inexact, is_cut = 255 if image.mode == "1" else 1, "", False
    if image.format == "PNG":
        depth, is_grey = start[24], start[25] == 0
        if depth == 16 and not is_grey:
            inexact, is_cut = "of 16-bit colour in PNG the upper 8 bits alone are read", True
        elif depth in (2, 4) and is_grey:
            step, inexact = 255 // (2**depth - 1), f"some programs spread {depth}-bit grey over 0 to 255, others do not"
    elif image.format in ("JPEG", "MPO"):
        inexact = "JPEG is lossy: its values are not those that were saved"
    elif image.format == "GIF":
        is_plain = image.mode == "L"
        inexact = "" if is_plain else "programs that write GIF number the colours as they like"
    elif image.format == "BMP" and start[28:30] == b"\x10\0":
        inexact, is_cut = "16-bit BMP holds 5 or 6 bits of a colour", True
    return Picture(
        path,
        image,
        MODES[image.mode],
        _known_orientation(image.getexif().get(ORIENTATION, 1)),
        palette=_palette_of(image),
        step=step,
        transparent=image.info.get("transparency"),
        inexact=inexact,
        is_cut=is_cut,
    )


def _palette_of(image: Image.Image) -> np.ndarray | None:
    if image.mode not in ("P", "PA"):
        return None
    colours = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    return np.concatenate([colours, np.zeros((256 - len(colours), 3), dtype=np.uint8)])


def _read_tiff(path: Path, number: int | None) -> Picture:
    with tifffile.TiffFile(path) as file:
        _require_pages_listed(path, file)
        if number is None and len(file.pages) > 1:
            raise InputError(
                f"{path}: holds {len(file.pages)} pages, but one picture is expected; volumes are not read: save its "
                "pages as pictures"
            )
        page = file.pages[number or 0]
        _require_size(path, page.imagewidth, page.imagelength, page.samplesperpixel, max(1, page.bitspersample // 8))
        photometric = int(page.photometric)
        if page.imagedepth != 1:
            raise InputError(f"{path}: a volume of {page.imagedepth} planes (ImageDepth); save its planes as pictures")
        is_jpeg = page.compression in (6, 7)
        if photometric not in PHOTOMETRIC and not (photometric == 6 and is_jpeg):
            name = getattr(page.photometric, "name", photometric)
            raise InputError(f"{path}: its colours ({name}) are not read; save it as grey or RGB")
        colour = "rgb" if photometric == 6 else PHOTOMETRIC[photometric]
        _require_all_data(path, page)
        extra = tuple(int(kind) for kind in page.extrasamples)
        facts = {
            "colour": colour,
            "palette": _tiff_palette(page) if colour == "palette" else None,
            "is_inverted": photometric == 0,
            "is_premultiplied": PREMULTIPLIED in extra,
            "inexact": "" if page.compression in LOSSLESS else "its compression is lossy",
        }
        if page.compression in DECODED_HERE and page.predictor in (1, 2) and page.bitspersample in (1, 8, 16, 32, 64):
            samples = page.asarray()
            if page.axes not in ("YX", "YXS", "SYX"):
                raise InputError(f"{path}: its axes {page.axes} are not those of a picture")
            samples = np.moveaxis(samples, 0, -1) if page.axes == "SYX" else samples
            samples = samples.reshape(*samples.shape[:2], -1)
            facts["step"] = 255 if samples.dtype == bool else 1
            samples = samples.view(np.uint8) if samples.dtype == bool else samples
            tag = page.tags.get(ORIENTATION)
            return Picture(path, samples, orientation=_known_orientation(tag.value if tag else 1), **facts)
    return _read_compressed(path, number or 0, page, facts)


def _read_compressed(path: Path, number: int, page: tifffile.TiffPage, facts: dict) -> Picture:
    """Let Pillow decode what tifffile does not, as far as Pillow keeps the samples; it turns them, too."""
    bits, kind = page.bitspersample, page.sampleformat
    is_byte = bits == 8 and kind == 1 and not facts["is_premultiplied"]
    is_bits = bits in (1, 2, 4) and page.samplesperpixel == 1
    is_deep = page.samplesperpixel == 1 and page.photometric == 1
    is_deep = is_deep and (bits, kind) in ((16, 1), (16, 2), (32, 2), (32, 3))
    is_cut = bits == 16 and kind == 1 and page.photometric == 2 and page.samplesperpixel == 3 and page.planarconfig == 1
    with Image.open(path, formats=["TIFF"]) as image:
        if is_byte or is_bits or is_deep or is_cut:
            image.seek(number)
            image.load()
        if not (is_byte or is_bits or is_deep or is_cut) or len(image.getbands()) != page.samplesperpixel:
            name = getattr(page.compression, "name", page.compression)
            raise InputError(
                f"{path}: TIFF of {page.samplesperpixel} x {bits} bits compressed by {name} is not read; save it "
                "uncompressed or with deflate"
            )
        is_grey = facts["colour"] == "grey"
        if is_cut:
            facts |= {"inexact": "of 16-bit colour with this compression the upper 8 bits alone are read"}
        if is_grey and bits < 8:
            facts["step"] = 255 // (2**bits - 1)
        is_turned_over = is_grey and facts["is_inverted"] and bits <= 8
        return Picture(path, image, is_turned_over=is_turned_over, is_cut=is_cut, **facts)


def _tiff_palette(page: tifffile.TiffPage) -> np.ndarray:
    """Return uint8 (n, 3); TIFF stores 16 bits, some programs 8 of them only."""
    colours = np.asarray(page.colormap).T
    return (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)


def _known_orientation(value: object) -> int:
    """Return 1 to 8; other values are no orientation, and viewers do not turn the picture."""
    return value if value in TURNS else 1


def _require_size(path: Path, width: int, height: int, channels: int, sample_bytes: int = 1) -> None:
    """Refuse a picture too large to be decoded, before it is."""
    if width < 1 or height < 1:
        raise InputError(f"{path}: cannot be decoded (it is {width}x{height} pixels)")
    if width * height > MOST_PIXELS:
        raise InputError(f"{path}: cannot be decoded ({width * height} pixels are more than {MOST_PIXELS})")
    if width * height * channels * sample_bytes > MOST_SAMPLE_BYTES:
        raise InputError(
            f"{path}: cannot be decoded ({width * height} pixels of {channels} x {8 * sample_bytes} bits take more "
            f"than {MOST_SAMPLE_BYTES >> 20} MiB)"
        )


def _require_one_frame(path: Path, image: Image.Image) -> None:
    """Refuse an animation; what a phone adds to a photo (a preview, a map of light) is smaller than the photo."""
    count = getattr(image, "n_frames", 1)
    if image.format == "MPO":
        sizes = []
        for frame in range(count):
            image.seek(frame)
            sizes.append(image.size)
        image.seek(0)
        count = sizes.count(sizes[0])
    if count > 1:
        raise InputError(f"{path}: holds {count} frames, but a single picture is expected; save the one that is meant")


def _require_pages_listed(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse a stack of which the first plane alone is listed as a page, as ImageJ writes large ones."""
    if len(file.pages) != 1:
        return
    size = max(1, int(np.prod(file.pages[0].shape)))
    planes = max(int(np.prod(series.shape)) // size for series in file.series)
    if file.is_imagej:
        planes = max(planes, int(file.imagej_metadata.get("images", 1)))
    if planes > 1:
        raise InputError(f"{path}: says that it holds {planes} planes, but lists one of them; save them as pictures")


def _require_all_data(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse missing strips or tiles: tifffile would fill them with zeros."""
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if not ends or min(page.databytecounts) == 0 or max(ends) > path.stat().st_size:
        raise InputError(f"{path}: cannot be decoded (the file is truncated, or a part of the picture is missing)")
    needed = page.imagewidth * page.imagelength * page.samplesperpixel * page.bitspersample // 8
    if page.compression == 1 and sum(page.databytecounts) < needed:
        raise InputError(f"{path}: cannot be decoded (it holds less data than the picture needs)")


def _require_tiff(path: Path, start: bytes) -> None:
    if not start.startswith(TIFF_MAGIC):
        raise InputError(f"{path}: not a TIFF file")


def _first_bytes(path: Path) -> bytes:
    """Return the start of a file; a device or a named pipe, whose reading may never end, is refused."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a file")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: its {size} bytes exceed the limit of {MOST_BYTES} bytes for a picture")
        with open(path, "rb") as file:
            return file.read(32)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _reason(error: Exception) -> str:
    """Return an error's first line; Pillow's own for an unknown format holds a memory address."""
    if isinstance(error, UnidentifiedImageError):
        return "no known image format"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
