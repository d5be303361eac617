"""The same small pictures in every form that people have: read to the values that were written, or refused by name."""

import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from spatial_reduction.data.decode import Pair, decode_pair
from spatial_reduction.data.instances import Objects, number_objects
from spatial_reduction.evaluation.predict_images import predict_images
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError

SIDE = 16
DRAW = np.random.default_rng(0)
BYTES = DRAW.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
COLOURS = DRAW.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
DEEP = DRAW.integers(0, 65536, (SIDE, SIDE, 3), dtype=np.uint16)
CONSTANT, OPAQUE = np.full((SIDE, SIDE, 1), 77, np.uint8), np.full((SIDE, SIDE, 1), 255, np.uint8)
OBJECTS = DRAW.choice([0, 7, 258, 300, 1000], (SIDE, SIDE)).astype(np.uint16)
PALETTE = DRAW.integers(0, 256, (256, 3), dtype=np.uint8)
RANGE = (-50.0, 205.0)
# How many of the 469 forms are read to the right values and how many are refused; none is read to others.
IMAGES, LABELS = {"right": 283, "refused": 186}, {"right": 277, "refused": 192}
# EXIF orientation -> how what is stored becomes what is shown, as the standard tells where row 0 and column 0 are.
SHOWN = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
    8: np.rot90,
}


@dataclass
class Form:
    """A file, and what is right of it: None if only a refusal is.

    `shown` is uint8 (H, W) or (H, W, 3), with `ranged` as intensity_range; `labels` integer (H, W).
    """

    path: Path
    shown: np.ndarray | None = None
    labels: np.ndarray | None = None
    ranged: tuple | None = None


def png(path, rows, kind, depth, palette=None, chunks=()):
    """Write a PNG of samples (H, W) or (H, W, C) of any depth: Pillow writes some only."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = rows.shape[:2]
    flat = rows.reshape(height, -1)
    if depth == 16:
        lines = [b"\0" + line.astype(">u2").tobytes() for line in flat]
    else:
        bits = [np.unpackbits(line.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :].reshape(-1) for line in flat]
        lines = [b"\0" + np.packbits(line).tobytes() for line in bits]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    pieces = [chunk(b"IHDR", header)]
    pieces += [chunk(b"PLTE", palette.tobytes())] if palette is not None else []
    pieces += [chunk(*each) for each in chunks]
    pieces += [chunk(b"IDAT", zlib.compress(b"".join(lines))), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(pieces))


def scaled(values, low, high):
    """Second implementation of the scaling, in exact arithmetic."""
    exact = (values.astype(np.longdouble) - low) * 255 / (high - low)
    return np.clip(np.rint(exact), 0, 255).astype(np.uint8)


def natural(values):
    """What 8 bits show of samples without an intensity range; None for numbers without black and white."""
    if values.dtype == bool:
        return values * np.uint8(255)
    if values.dtype == np.uint16:
        return (values >> 8).astype(np.uint8) if values.ndim == 3 else scaled(values, 0, 65535)
    return values if values.dtype == np.uint8 else None


def whole(values):
    """The labels of samples, None if they are none."""
    return values.astype(np.int64) if values.min() >= 0 else None


class Forms:
    """Writes forms into a folder and collects them."""

    def __init__(self, folder):
        self.folder, self.all = folder, []

    def add(self, name, suffix, write, **right):
        path = self.folder / f"{name}{suffix}"
        write(path)
        self.all.append(Form(path, **right))

    def tiff(self, name, stored, values=None, labels=None, is_right=True, **options):
        """Add a TIFF of tifffile, with its own range if it has no natural one, and without; `values` are as shown."""
        values = stored if values is None else values
        right = {
            "labels": labels if labels is not None or not is_right else whole(values) if values.ndim == 2 else None
        }
        options = {"photometric": "minisblack", "metadata": None} | options

        def write(path):
            tifffile.imwrite(path, stored, **options)

        if natural(values) is None:
            self.add(
                f"{name}-ranged",
                ".tif",
                write,
                shown=scaled(values, *RANGE) if is_right else None,
                ranged=RANGE,
                **right,
            )
        self.add(name, ".tif", write, shown=natural(values) if is_right else None, **right)

    def pillow(self, name, suffix, image, shown, labels, **options):
        self.add(name, suffix, lambda path: image.save(path, **options), shown=shown, labels=labels)


def grey_tiffs(forms):
    layouts = {
        "strips": {"rowsperstrip": 3},
        "big-endian": {"byteorder": ">"},
        "tiles": {"tile": (16, 16)},
        "bigtiff": {"bigtiff": True, "byteorder": ">"},
        "deflate": {"compression": "zlib", "rowsperstrip": 5},
        "lzma": {"compression": "lzma", "tile": (16, 16), "byteorder": ">"},
    }
    kinds = {kind: np.dtype(kind) for kind in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")}
    for kind, dtype in kinds.items():
        values = OBJECTS.astype(dtype) if dtype.itemsize > 1 else (BYTES % 100).astype(dtype)
        for layout, options in layouts.items():
            forms.tiff(f"grey-{kind}-{layout}", values, **options)
        if dtype.kind != "f":
            forms.tiff(f"grey-{kind}-predictor", values, compression="zlib", predictor=2)
            forms.tiff(f"grey-{kind}-signed", values - np.array(40, dtype), labels=None) if dtype.kind == "i" else None
        forms.tiff(f"white-{kind}", values, labels=whole(values), is_right=False, photometric="miniswhite")
    broken = OBJECTS.astype(np.float32)
    for name, value in (("nan", np.nan), ("inf", np.inf), ("half", 0.5)):
        broken[3, 4] = value
        is_right = name == "half"
        shown = scaled(broken, *RANGE) if is_right else None
        copy = broken.copy()
        forms.add(f"float-{name}", ".tif", lambda path, a=copy: tifffile.imwrite(path, a), shown=shown, ranged=RANGE)
    bits = BYTES > 200
    for photometric in ("miniswhite", "minisblack"):
        is_right = photometric == "minisblack"
        forms.tiff(
            f"bits-{photometric}", bits, labels=bits.astype(np.uint8), is_right=is_right, photometric=photometric
        )
    forms.tiff("complex", OBJECTS.astype(np.complex64), is_right=False)


def channel_tiffs(forms):
    for dtype in (np.uint8, np.uint16):
        unit = 257 if dtype is np.uint16 else 1
        for count in (2, 3, 4, 5):
            for planar in ("contig", "separate"):
                name = f"{count}x{np.dtype(dtype).name}-{planar}"
                axis = -1 if planar == "contig" else 0
                options = {"planarconfig": planar}
                grey = np.repeat(BYTES[..., None].astype(dtype) * unit, count, axis=2)
                varied = grey.copy()
                varied[..., 1:] += 1 + np.arange(count - 1, dtype=dtype) * 3
                constant = np.concatenate([grey[..., :1], np.full((SIDE, SIDE, count - 1), 9, dtype)], axis=2)
                for kind, values, is_right in (("varied", varied, False), ("constant", constant, True)):
                    shown, labels = (BYTES, grey[..., 0]) if is_right else (None, None)
                    for extra in ("unspecified", "unassalpha", "assocalpha"):
                        if extra == "assocalpha" and is_right:
                            shown = labels = None
                        right = {"shown": shown, "labels": labels}
                        keys = options | {"photometric": "minisblack", "extrasamples": (extra,) * (count - 1)}
                        stored = np.moveaxis(values, -1, axis)
                        forms.add(f"grey-{name}-{kind}-{extra}", ".tif", writer(stored, **keys, metadata=None), **right)
                if count >= 3:
                    colour = np.concatenate([(DEEP >> 8) * unit, np.full((SIDE, SIDE, 2), 9)], axis=2)[..., :count]
                    stored = np.moveaxis(colour.astype(dtype), -1, axis)
                    keys = options | {"photometric": "rgb", "metadata": None}
                    keys |= {"extrasamples": ("unassalpha", "unspecified")[: count - 3]} if count > 3 else {}
                    for more in ({}, {"byteorder": ">", "compression": "zlib"}, {"tile": (16, 16), "bigtiff": True}):
                        which = "-".join(more) or "plain"
                        shown = (DEEP >> 8).astype(np.uint8)
                        forms.add(f"rgb-{name}-{which}", ".tif", writer(stored, **keys, **more), shown=shown)
                    labels = np.repeat(OBJECTS[..., None] if unit > 1 else BYTES[..., None], 3, axis=2)
                    labels = np.concatenate([labels, np.full((SIDE, SIDE, 2), 9)], axis=2)[..., :count].astype(dtype)
                    right = {"shown": natural(labels[..., :3]), "labels": labels[..., 0]}
                    forms.add(f"rgb-grey-{name}", ".tif", writer(np.moveaxis(labels, -1, axis), **keys), **right)
    floats = COLOURS.astype(np.float32)
    forms.add("rgb-float", ".tif", writer(floats, photometric="rgb"))
    right = {"shown": scaled(floats, *RANGE), "ranged": RANGE}
    forms.add("rgb-float-ranged", ".tif", writer(floats, photometric="rgb"), **right)
    right = {"shown": scaled(DEEP, *RANGE), "ranged": RANGE}
    forms.add("rgb-uint16-ranged", ".tif", writer(DEEP, photometric="rgb"), **right)
    coloured = np.concatenate([COLOURS, BYTES[..., None]], axis=2)
    for photometric, values in (
        ("separated", coloured),
        ("separated", coloured.astype(np.uint16)),
        ("cielab", COLOURS),
    ):
        name = f"{photometric}-{values.dtype}"
        # The formula of a printer without a profile: each of C, M, Y darkens, and K all of them.
        shown = None if photometric == "cielab" or values.dtype != np.uint8 else printed(values)
        forms.add(name, ".tif", writer(values, photometric=photometric, metadata=None), shown=shown)
    colormap = np.moveaxis(PALETTE.astype(np.uint16) * 257, -1, 0)
    right = {"shown": PALETTE[BYTES], "labels": BYTES}
    forms.add("palette", ".tif", writer(BYTES, photometric="palette", colormap=colormap), **right)


def writer(stored, **options):
    return lambda path: tifffile.imwrite(path, stored, **options)


def printed(cmyk):
    ink = cmyk.astype(float)
    return np.rint((255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255).astype(np.uint8)


def pillow_tiffs(forms):
    palette = Image.fromarray(BYTES).convert("P")
    palette.putpalette(PALETTE.tobytes())
    alpha = np.concatenate([COLOURS, CONSTANT], axis=2)
    equal = np.repeat(BYTES[..., None], 3, axis=2)
    small = (BYTES.astype(np.int16) % 100) - 20
    pictures = {
        "1": (Image.fromarray(BYTES > 200), (BYTES > 200) * np.uint8(255), (BYTES > 200).astype(np.uint8)),
        "L": (Image.fromarray(BYTES), BYTES, BYTES),
        "P": (palette, PALETTE[BYTES], BYTES),
        "RGB": (Image.fromarray(COLOURS), COLOURS, None),
        "equal": (Image.fromarray(equal), equal, BYTES),
        "RGBA": (Image.fromarray(alpha), COLOURS, None),
        "I;16": (Image.fromarray(OBJECTS), scaled(OBJECTS, 0, 65535), OBJECTS),
        "I": (Image.fromarray(small.astype(np.int32)), None, None),
        "F": (Image.fromarray(OBJECTS.astype(np.float32)), None, OBJECTS),
        "CMYK": (Image.fromarray(alpha, "CMYK"), printed(alpha), None),
    }
    for codec in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "lzma", "zstd"):
        for mode, (image, shown, labels) in pictures.items():
            forms.pillow(f"{mode}-{codec}".replace(";", ""), ".tif", image, shown, labels, compression=codec)
    for codec in ("group3", "group4"):
        forms.pillow(f"1-{codec}", ".tif", *pictures["1"], compression=codec)
        forms.add(f"white-1-{codec}", ".tif", lambda path, c=codec: save_white(path, c), labels=pictures["1"][2])
    smooth = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8) * 8
    for name, image in (("L", Image.fromarray(smooth)), ("RGB", Image.fromarray(np.stack([smooth] * 3, axis=2)))):
        path = forms.folder / f"oracle-{name}.tif"
        image.save(path, compression="jpeg")
        oracle = np.asarray(Image.open(path))
        path.unlink()
        forms.pillow(f"{name}-jpeg", ".tif", image, oracle, None, compression="jpeg")
    ycbcr = Image.fromarray(COLOURS).convert("YCbCr")
    forms.pillow("ycbcr", ".tif", ycbcr, None, None)
    lab = ImageCms.applyTransform(
        Image.fromarray(COLOURS),
        ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"),
    )
    forms.pillow("lab-lzw", ".tif", lab, None, None, compression="tiff_lzw")


def save_white(path, codec):
    """A compressed picture of one bit whose tag says that 0 is white; its bits are those of BYTES > 200."""
    Image.fromarray(BYTES > 200).save(path, compression=codec)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["PhotometricInterpretation"]
        before = int(file.pages[0].photometric)
        content[tag.valueoffset : tag.valueoffset + 2] = struct.pack(file.byteorder + "H", 1 - before)
    if before == 0:  # Pillow had written white as 0, and the bits turned over
        Image.fromarray(BYTES <= 200).save(path, compression=codec)
        return
    path.write_bytes(content)


def pngs(forms):
    for depth in (1, 2, 4, 8, 16):
        top = 2**depth - 1
        values = (OBJECTS if depth == 16 else BYTES & top).astype(np.uint16)
        shown = scaled(values, 0, top)
        labels = values if depth in (1, 8, 16) else None  # of 2 and 4 bits, readers disagree
        forms.add(
            f"grey-{depth}", ".png", lambda path, v=values, d=depth: png(path, v, 0, d), shown=shown, labels=labels
        )
        if depth <= 8:
            palette = PALETTE[: top + 1]
            right = {"shown": palette[values], "labels": values}
            forms.add(f"palette-{depth}", ".png", lambda p, v=values, d=depth, c=palette: png(p, v, 3, d, c), **right)
    for depth in (8, 16):
        unit = 257 if depth == 16 else 1
        for alpha, kind in ((CONSTANT, "constant"), (OPAQUE, "opaque"), (BYTES[..., None], "varied")):
            is_right = kind != "varied"
            grey = np.concatenate([BYTES[..., None], alpha], axis=2).astype(np.uint16) * unit
            colour = np.concatenate([COLOURS, alpha], axis=2).astype(np.uint16) * unit
            right = {"shown": BYTES if is_right else None, "labels": BYTES if is_right and depth == 8 else None}
            forms.add(f"la-{depth}-{kind}", ".png", lambda p, v=grey, d=depth: png(p, v, 4, d), **right)
            right = {"shown": COLOURS if is_right else None}
            forms.add(f"rgba-{depth}-{kind}", ".png", lambda p, v=colour, d=depth: png(p, v, 6, d), **right)
    forms.add("rgb-8", ".png", lambda path: png(path, COLOURS, 2, 8), shown=COLOURS)
    forms.add("rgb-16", ".png", lambda path: png(path, DEEP, 2, 16), shown=(DEEP >> 8).astype(np.uint8))
    forms.add("rgb-16-ranged", ".png", lambda path: png(path, DEEP, 2, 16), ranged=RANGE)
    thrice = np.repeat(OBJECTS[..., None], 3, axis=2)
    forms.add("rgb-16-labels", ".png", lambda path: png(path, thrice, 2, 16), shown=(thrice >> 8).astype(np.uint8))
    is_deep_grey = {"shown": scaled(OBJECTS, *RANGE), "labels": OBJECTS, "ranged": RANGE}
    forms.add("grey-16-ranged", ".png", lambda path: png(path, OBJECTS, 0, 16), **is_deep_grey)
    clear = [(b"tRNS", bytes([0, 255, 255]))]
    few = BYTES % 3
    forms.add("palette-clear", ".png", lambda p: png(p, few, 3, 8, PALETTE[:3], clear), labels=few)
    right = {"shown": PALETTE[few], "labels": few}
    forms.add("palette-opaque", ".png", lambda p: png(p, few, 3, 8, PALETTE[:3], [(b"tRNS", b"\xff" * 3)]), **right)
    key = [(b"tRNS", struct.pack(">H", int(BYTES[0, 0])))]
    forms.add("grey-clear", ".png", lambda path: png(path, BYTES, 0, 8, None, key), labels=BYTES)


def other_formats(forms):
    palette = Image.fromarray(BYTES % 8).convert("P")
    palette.putpalette(PALETTE[:8].tobytes())
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(SIDE, SIDE))
    forms.pillow("ramp", ".gif", ramp, np.asarray(ramp), np.asarray(ramp))
    forms.pillow("few", ".gif", Image.fromarray(BYTES % 2 * np.uint8(255)), BYTES % 2 * np.uint8(255), None)
    forms.pillow("palette", ".gif", palette, PALETTE[BYTES % 8], None)
    forms.pillow("1", ".bmp", Image.fromarray(BYTES > 200), (BYTES > 200) * np.uint8(255), BYTES > 200)
    forms.pillow("L", ".bmp", Image.fromarray(BYTES), BYTES, BYTES)
    forms.pillow("P", ".bmp", palette, PALETTE[BYTES % 8], BYTES % 8)
    forms.pillow("RGB", ".bmp", Image.fromarray(COLOURS), COLOURS, None)
    equal = np.repeat(BYTES[..., None], 3, axis=2)
    forms.pillow("equal", ".bmp", Image.fromarray(equal), equal, BYTES)
    forms.pillow("RGBA", ".bmp", Image.fromarray(np.concatenate([COLOURS, OPAQUE], axis=2)), COLOURS, None)
    pixels = ((COLOURS >> 3).astype("<u2") << np.array([10, 5, 0], "<u2")).sum(axis=2).astype("<u2")[::-1]
    head = struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", 54 + pixels.nbytes, 0, 0, 54, 40, SIDE, SIDE, 1, 16, 0, 0, 0, 0, 0, 0
    )
    five = ((COLOURS >> 3).astype(int) * 255 // 31).astype(np.uint8)
    forms.add("555", ".bmp", lambda path: path.write_bytes(head + pixels.tobytes()), shown=five)
    smooth = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8) * 8
    for mode in ("L", "RGB", "CMYK"):
        image = Image.fromarray(smooth).convert("RGB").convert(mode)
        path = forms.folder / "oracle.jpg"
        image.save(path)
        oracle = np.asarray(Image.open(path))
        path.unlink()
        forms.pillow(mode, ".jpg", image, printed(oracle) if mode == "CMYK" else oracle, None)


def orientations(forms):
    smooth = np.add.outer(np.arange(SIDE) * 5, np.arange(SIDE) * 11).astype(np.uint8)
    for number, turn in SHOWN.items():
        exif = Image.Exif()
        exif[274] = number
        tag = {"extratags": [(274, 3, 1, number, True)]}
        deep = {"shown": scaled(turn(OBJECTS), 0, 65535), "labels": turn(OBJECTS)}
        forms.add(f"turned-{number}", ".tif", writer(OBJECTS, photometric="minisblack", **tag), **deep)
        right = {"shown": turn(COLOURS)}
        planes = np.moveaxis(COLOURS, -1, 0)
        keys = tag | {"photometric": "rgb", "planarconfig": "separate"}
        forms.add(f"turned-{number}-planes", ".tif", writer(planes, **keys), **right)
        image = Image.fromarray(BYTES)
        forms.pillow(f"turned-{number}", ".png", image, turn(BYTES), turn(BYTES), exif=exif)
        compressed = {"compression": "tiff_lzw", "tiffinfo": {274: number}}
        forms.pillow(f"turned-{number}-lzw", ".tif", image, turn(BYTES), turn(BYTES), **compressed)
        path = forms.folder / "oracle.jpg"
        Image.fromarray(smooth).save(path)
        oracle = turn(np.asarray(Image.open(path)))
        path.unlink()
        forms.pillow(f"turned-{number}", ".jpg", Image.fromarray(smooth), oracle, None, exif=exif)


def several(forms):
    """Files of several pictures: none is the one that is meant."""
    pages = np.stack([BYTES, BYTES + 1, BYTES + 2])
    forms.add("pages", ".tif", writer(pages, photometric="minisblack"))
    forms.add("pages-imagej", ".tif", writer(pages, imagej=True))
    forms.add("planes-one-page", ".tif", writer(pages, photometric="minisblack", truncate=True))
    forms.add("planes-imagej-one-page", ".tif", lambda path: imagej_without_pages(path, pages))
    forms.add(
        "image-depth",
        ".tif",
        writer(np.stack([BYTES] * 16), photometric="minisblack", volumetric=True, tile=(16, 16, 16)),
    )
    frames = [Image.fromarray(page) for page in pages]
    for suffix in (".gif", ".png", ".tif"):
        forms.pillow("frames", suffix, frames[0], None, None, save_all=True, append_images=frames[1:])
    forms.pillow("frames-mpo", ".jpg", frames[0], None, None, format="MPO", save_all=True, append_images=frames[1:])


def imagej_without_pages(path, pages):
    """What ImageJ writes above 4 GB: one page, its planes behind each other, their number in the description."""
    description = "ImageJ=1.54f\nimages=3\nslices=3\n"
    tifffile.imwrite(path, pages[0], photometric="minisblack", description=description, metadata=None)
    path.write_bytes(path.read_bytes() + pages[1:].tobytes())


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    forms = Forms(tmp_path_factory.mktemp("forms"))
    for write in (grey_tiffs, channel_tiffs, pillow_tiffs, pngs, other_formats, orientations, several):
        write(forms)
    return forms


def compared(right, path, read):
    """Return right, wrong or refused, and the refusal."""
    try:
        found = read()
    except InputError as error:
        is_told = str(path) in str(error) and "\n" not in str(error)
        return ("refused" if is_told else "wrong"), str(error)
    is_right = right is not None and found.shape == right.shape and np.array_equal(found, right)
    return ("right" if is_right else "wrong"), ""


def as_rgb(shown):
    return np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown


def prepared(form, plain):
    pair = Pair("a", form.path, plain)
    return decode_pair(pair, SIDE, "rgb", {0: 0}, form.ranged).image


def counted(outcomes):
    return dict(Counter(outcome for outcome, _ in outcomes.values()))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "zeros.png"
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(path)
    return path


def told(outcomes):
    return [name for name, (outcome, _) in outcomes.items() if outcome == "wrong"]


def test_every_image_is_prepared_to_the_values_that_were_written_or_refused(forms, plain):
    outcomes = {}
    for form in forms.all:
        right = None if form.shown is None else as_rgb(form.shown)
        outcomes[form.path.name] = compared(right, form.path, lambda form=form: prepared(form, plain))
    assert told(outcomes) == []
    assert counted(outcomes) == IMAGES


def test_every_label_picture_is_read_to_the_values_that_were_written_or_refused(forms, plain):
    outcomes = {}
    for form in forms.all:
        right = None if form.labels is None else number_objects(form.path, form.labels.astype(int))

        def read(form=form):
            pair = Pair("a", plain, form.path)
            return decode_pair(pair, SIDE, "grey", {0: 0, 1: 0}, None, Objects(None, 0)).instances

        outcomes[form.path.name] = compared(right, form.path, read)
    assert told(outcomes) == []
    assert counted(outcomes) == LABELS


def test_predict_reads_every_picture_as_a_preparation_does(forms, tmp_path, capfd):
    """Without foreground, an overlay is the picture as the network sees it."""
    save_model(tmp_path / "model", build_model(3, 2, {"name": "unet", "widths": [2, 4]}, seed=1))
    outcomes = {}
    for ranged in (None, RANGE):
        some = {}
        for form in (form for form in forms.all if form.ranged == ranged):
            path = tmp_path / f"pictures-{ranged is None}" / f"{form.path.name}{form.path.suffix}"
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(form.path)
            some[path] = form
        table = tmp_path / f"results-{ranged is None}" / "predictions.csv"
        with pytest.raises(InputError, match="could not be read"):
            predict_images(
                list(some),
                tmp_path / "model",
                table,
                dataset={"classes": ["a", "b"], "image_size": SIDE, "colour": "rgb", "intensity_range": ranged},
                prediction={"resize": True, "tile": 16},
                evaluation={"foreground": [], "test_time_augmentation": 1},
                machine=Machine("cpu", 1),
            )
        told_of = [line for line in capfd.readouterr().err.splitlines() if line.startswith("left out: ")]
        for path, form in some.items():
            lines = [line for line in told_of if f"{path}:" in line]
            overlay = table.parent / "overlays" / f"{path.stem}.png"
            assert bool(lines) != overlay.exists(), path
            if lines:
                outcomes[path] = ("refused", lines[0])
                continue
            found = np.asarray(Image.open(overlay))
            is_right = form.shown is not None and np.array_equal(found, as_rgb(form.shown))
            outcomes[path] = ("right" if is_right else "wrong", "")
    assert told(outcomes) == []
    assert counted(outcomes) == IMAGES


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "u4", "f4"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">", "bigtiff": True}], ids=str)
def test_a_page_of_a_stack_is_read_like_a_picture(tmp_path, kind, options):
    pages = np.stack([BYTES, BYTES[::-1], BYTES.T]).astype(kind)
    tifffile.imwrite(tmp_path / "images.tif", pages, photometric="minisblack", **options)
    tifffile.imwrite(tmp_path / "labels.tif", pages, photometric="minisblack", **options)
    for page in range(3):
        pair = Pair("a", tmp_path / "images.tif", tmp_path / "labels.tif", page=page)
        ranged = None if kind == "u1" else (0, 255)
        decoded = decode_pair(pair, SIDE, "grey", {value: value for value in range(255)} | {255: 0}, ranged)
        assert np.array_equal(decoded.image[..., 0], pages[page].astype(np.uint8))
        assert np.array_equal(decoded.labels, np.where(pages[page] == 255, 0, pages[page]))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_page_of_deep_colours_in_planes_is_read_like_a_picture(tmp_path, plain, planar):
    pages = np.stack([DEEP, DEEP[::-1]])
    stored = pages if planar == "contig" else np.moveaxis(pages, -1, 1)
    tifffile.imwrite(tmp_path / "images.tif", stored, photometric="rgb", planarconfig=planar)
    tifffile.imwrite(tmp_path / "labels.tif", np.zeros((2, SIDE, SIDE), np.uint8), photometric="minisblack")
    for page in range(2):
        pair = Pair("a", tmp_path / "images.tif", tmp_path / "labels.tif", page=page)
        assert np.array_equal(decode_pair(pair, SIDE, "rgb", {0: 0}, None).image, pages[page] >> 8)
