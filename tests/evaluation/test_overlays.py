import colorsys
import struct
import zlib

import numpy as np
import pytest
import seaborn
from PIL import Image

from spatial_reduction.evaluation.overlays import _bands, class_colours, outlines, write_labels, write_overlay


def test_class_colours_differ():
    assert len(np.unique(class_colours(30), axis=0)) == 30


def test_class_colours_are_those_of_the_figures_then_hues_by_the_golden_ratio():
    palette = np.rint(255 * np.array(seaborn.color_palette("colorblind")))
    assert np.array_equal(class_colours(3), palette[:3])
    assert np.array_equal(class_colours(13)[:10], palette)
    for index, colour in enumerate(class_colours(13)[10:], start=10):
        hue, saturation, value = colorsys.rgb_to_hsv(*(colour / 255))
        assert hue == pytest.approx(index * (5**0.5 - 1) / 2 % 1, abs=0.005)
        assert saturation == pytest.approx(0.7, abs=0.005)
        assert value == pytest.approx(0.85, abs=0.5 / 255)


def chunks(data):
    """Yield (name, content) of the chunks of a PNG, as its specification says they are written."""
    assert data[:8] == bytes([137, 80, 78, 71, 13, 10, 26, 10])
    place = 8
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        content, check = data[place + 8 : place + 8 + length], data[place + 8 + length : place + 12 + length]
        assert check == struct.pack(">I", zlib.crc32(name + content))
        yield name, content
        place += 12 + length


@pytest.mark.parametrize("band", [1, 20])
def test_labels_are_a_palette_picture_in_the_colours_of_the_classes(tmp_path, monkeypatch, band):
    labels = np.random.default_rng(0).integers(0, 4, (5, 7), dtype=np.uint8)
    monkeypatch.setattr("spatial_reduction.evaluation.overlays.BAND_PIXELS", band)
    write_labels(tmp_path / "l.png", labels, classes=4)
    picture = Image.open(tmp_path / "l.png")
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), labels)
    assert np.array_equal(np.asarray(picture.convert("RGB")), class_colours(4)[labels])
    parts = list(chunks((tmp_path / "l.png").read_bytes()))
    assert {name for name, _ in parts[2:-1]} == {b"IDAT"}
    assert parts[0] == (b"IHDR", bytes([0, 0, 0, 7, 0, 0, 0, 5, 8, 3, 0, 0, 0]))  # 8 bits, a palette, plain methods
    assert parts[1] == (b"PLTE", class_colours(4).tobytes())
    assert parts[-1] == (b"IEND", b"")


def test_a_band_is_of_as_many_rows_as_hold_a_mebipixel():
    assert list(_bands((5, 1 << 19))) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(_bands((2, 3 << 20))) == [slice(0, 1), slice(1, 2)]


@pytest.mark.parametrize("band", [1, 10, 100])
def test_an_overlay_tints_the_foreground_and_outlines_it(tmp_path, monkeypatch, band):
    labels = np.zeros((5, 5), np.uint8)
    labels[1:4, 1:4] = 1
    assert outlines(labels).astype(int).tolist() == [
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [1, 1, 0, 1, 1],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
    ]
    monkeypatch.setattr("spatial_reduction.evaluation.overlays.BAND_PIXELS", band)
    pixels = np.full((5, 5, 3), 100, np.uint8)
    write_overlay(tmp_path / "o.png", lambda rows: pixels[rows], labels, classes=2, foreground=[1])
    overlay, colour = np.asarray(Image.open(tmp_path / "o.png")), class_colours(2)[1]
    assert np.array_equal(overlay[0, 0], [100] * 3)  # background, even beside the outline
    assert np.array_equal(overlay[1, 1], colour)
    assert np.array_equal(overlay[2, 2], np.rint(0.65 * 100 + 0.35 * colour))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("band", [1, 20, 100])
def test_every_pixel_of_an_overlay_is_as_its_class_and_its_neighbours_say(tmp_path, monkeypatch, band, channels):
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 4, (3, 3)), np.ones((3, 4), int))[:8, :11].astype(np.uint8)
    pixels = rng.integers(0, 256, (8, 11, channels), dtype=np.uint8)
    monkeypatch.setattr("spatial_reduction.evaluation.overlays.BAND_PIXELS", band)
    write_overlay(tmp_path / "o.png", lambda rows: pixels[rows], labels, classes=4, foreground=[1, 3])
    padded, colours = np.pad(labels, 1, mode="edge"), class_colours(4)
    expected = np.repeat(pixels, 3 // channels, axis=2).astype(float)
    for y, x in np.argwhere(np.isin(labels, [1, 3])):
        around = [padded[y, x + 1], padded[y + 2, x + 1], padded[y + 1, x], padded[y + 1, x + 2]]
        share = 0.35 if set(around) == {labels[y, x]} else 1
        expected[y, x] = (1 - share) * expected[y, x] + share * colours[labels[y, x]]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o.png")), np.rint(expected))
    assert next(chunks((tmp_path / "o.png").read_bytes()))[1][8:] == bytes([8, 2, 0, 0, 0])
