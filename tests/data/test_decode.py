from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from spatial_reduction.data.decode import Pair, decode_pair, map_labels
from spatial_reduction.runtime.errors import InputError

SIDE = 4
ZEROS = np.zeros((SIDE, SIDE), dtype=np.uint8)
RAMP = np.arange(16, dtype=np.uint8).reshape(SIDE, SIDE)


def decode(image, labels, size=SIDE, colour="grey", label_map=None, intensity_range=None):
    pair = Pair(name="pair", image=image, labels=labels)
    return decode_pair(pair, size, colour, label_map or {0: 0}, intensity_range)


@pytest.fixture
def mask(tmp_path):
    """A label picture of zeros, of the size of RAMP."""
    Image.fromarray(ZEROS).save(tmp_path / "zeros.png")
    return tmp_path / "zeros.png"


def saved(path, pixels, picture_format=None):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, format=picture_format)
    return path


def decoded_labels(path, size=SIDE, label_map=None):
    with Image.open(path) as picture:
        image = saved(path.with_name(f"image_of_{path.stem}.png"), Image.new("L", picture.size))
    return decode(image, path, size=size, label_map=label_map)[1]


def test_a_gif_named_jpg_is_read_as_gif(tmp_path, mask):
    path = saved(tmp_path / "a.jpg", RAMP, "GIF")
    assert path.read_bytes().startswith(b"GIF8")
    assert np.array_equal(decode(path, mask)[0][..., 0], RAMP)


def test_a_png_named_jpg_is_read_as_png(tmp_path, mask):
    path = saved(tmp_path / "a.jpg", RAMP, "PNG")
    assert np.array_equal(decode(path, mask)[0][..., 0], RAMP)


def test_an_rgba_png_named_jpg_loses_its_alpha_and_keeps_its_colours(tmp_path, mask):
    rgba = np.stack([RAMP, RAMP + 100, RAMP + 200, np.full_like(RAMP, 7)], axis=-1)
    path = saved(tmp_path / "a.jpg", rgba, "PNG")
    assert np.array_equal(decode(path, mask, colour="rgb")[0], rgba[..., :3])


def test_a_label_picture_named_jpg_is_read_as_png(tmp_path):
    path = saved(tmp_path / "labels.jpg", RAMP, "PNG")
    assert np.array_equal(decoded_labels(path, label_map={value: value for value in range(16)}), RAMP)


def test_a_truncated_jpg_is_refused_by_name(tmp_path, mask):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / "cut.jpg", noise)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"cut\.jpg: cannot be decoded \(image file is truncated"):
        decode(path, mask)


@pytest.mark.parametrize("content", [b"", b"no picture at all"])
def test_a_file_of_no_picture_format_is_refused_without_a_memory_address(tmp_path, mask, content):
    path = tmp_path / "text.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        decode(path, mask)
    known = "PNG, JPEG, TIFF, GIF and BMP are read"
    assert str(refusal.value) == f"{path}: cannot be decoded (no known image format); {known}"


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_truncated_tiff_is_refused_in_one_line_by_name(tmp_path, mask, planar):
    path = tmp_path / "cut.tif"
    shape = (32, 32, 3) if planar == "contig" else (3, 32, 32)
    tifffile.imwrite(path, np.ones(shape, dtype=np.uint16), photometric="rgb", planarconfig=planar)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.tif: cannot be decoded") as refusal:
        decode(path, mask)
    assert "\n" not in str(refusal.value)
    assert "0x" not in str(refusal.value)


def test_a_missing_file_is_refused_by_name(tmp_path, mask):
    with pytest.raises(InputError, match=r"gone\.jpg: No such file"):
        decode(tmp_path / "gone.jpg", mask)


def test_an_image_and_labels_of_different_sizes_are_refused_with_both_sizes(tmp_path, mask):
    image = saved(tmp_path / "wide.png", Image.new("RGB", (6, 5)))
    with pytest.raises(InputError, match=r"wide\.png: image is 6x5 .*zeros\.png are 4x4"):
        decode(image, mask)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_16_bit_grey_image_is_scaled_from_the_full_range_by_default(tmp_path, mask, suffix):
    path = saved(tmp_path / f"deep.{suffix}", RAMP.astype(np.uint16) * 17 * 257)
    assert np.array_equal(decode(path, mask)[0][..., 0], RAMP * 17)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_16_bit_grey_image_is_scaled_and_clipped_by_intensity_range(tmp_path, mask, suffix):
    raw = np.tile(np.array([0, 1000, 1510, 4000], dtype=np.uint16), (SIDE, 1))
    path = saved(tmp_path / f"deep.{suffix}", raw)
    image = decode(path, mask, intensity_range=[1000, 3550])[0][..., 0]
    assert image.tolist() == [[0, 0, 51, 255]] * SIDE


def test_a_big_endian_16_bit_tiff_gives_the_same_image(tmp_path, mask):
    path = tmp_path / "big.tif"
    tifffile.imwrite(path, RAMP.astype(np.uint16) * 257, byteorder=">")
    assert np.array_equal(decode(path, mask)[0][..., 0], RAMP)


def test_a_float_tiff_is_scaled_by_intensity_range(tmp_path, mask):
    path = tmp_path / "float.tif"
    tifffile.imwrite(path, RAMP.astype(np.float32) / 15)
    assert np.array_equal(decode(path, mask, intensity_range=[0, 1])[0][..., 0], RAMP * 17)


def test_a_float_tiff_with_a_value_that_is_no_number_is_refused(tmp_path, mask):
    pixels = RAMP.astype(np.float32)
    pixels[1, 2] = np.nan
    tifffile.imwrite(tmp_path / "image.tif", pixels)
    with pytest.raises(InputError, match=r"image\.tif: holds values that are not a number"):
        decode(tmp_path / "image.tif", mask, intensity_range=[0, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_volume_is_refused_where_a_picture_is_wanted(tmp_path, mask, dtype):
    tifffile.imwrite(tmp_path / "image.tif", np.stack([RAMP.astype(dtype)] * 5), photometric="minisblack")
    with pytest.raises(InputError, match=r"image\.tif: holds 5 pages, but one picture is expected"):
        decode(tmp_path / "image.tif", mask)


def test_an_8_bit_image_is_not_scaled_by_intensity_range(tmp_path, mask):
    path = saved(tmp_path / "a.png", RAMP)
    assert np.array_equal(decode(path, mask, intensity_range=[0, 10])[0][..., 0], RAMP)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_16_bit_rgb_tiff_keeps_the_upper_8_bits_of_each_colour(tmp_path, mask, compression, planar, byteorder):
    deep = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE, 3), dtype=np.uint16)
    stored = deep if planar == "contig" else np.moveaxis(deep, -1, 0)
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, compression=compression, byteorder=byteorder)
    assert np.array_equal(decode(path, mask, colour="rgb")[0], deep >> 8)


def test_an_8_bit_planar_rgb_tiff_keeps_its_colours(tmp_path, mask):
    colours = np.stack([RAMP, RAMP + 100, RAMP + 200])
    path = tmp_path / "planar.tif"
    tifffile.imwrite(path, colours, photometric="rgb", planarconfig="separate")
    assert np.array_equal(decode(path, mask, colour="rgb")[0], np.moveaxis(colours, 0, -1))


def test_a_palette_mask_gives_its_palette_indices(tmp_path):
    picture = Image.fromarray(RAMP % 3).convert("P")
    picture.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    path = saved(tmp_path / "palette.png", picture)
    assert np.array_equal(decoded_labels(path, label_map={0: 2, 1: 0, 2: 1}), np.array([2, 0, 1])[RAMP % 3])


def test_a_mask_of_one_bit_per_pixel_has_the_labels_0_and_1(tmp_path):
    path = saved(tmp_path / "bits.png", Image.fromarray((RAMP % 2) * np.uint8(255)).convert("1"))
    assert np.array_equal(decoded_labels(path, label_map={0: 0, 1: 1}), RAMP % 2)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_grey_mask_saved_with_more_channels_is_accepted(tmp_path, mode):
    path = saved(tmp_path / "grey.png", Image.fromarray(RAMP % 2).convert(mode))
    assert np.array_equal(decoded_labels(path, label_map={0: 0, 1: 1}), RAMP % 2)


def test_a_coloured_mask_is_refused(tmp_path):
    path = saved(tmp_path / "colours.png", Image.new("RGB", (SIDE, SIDE), (1, 1, 0)))
    with pytest.raises(InputError, match=r"colours\.png: labels must be one value per pixel"):
        decoded_labels(path)


def test_a_mask_of_fractions_is_refused_not_rounded(tmp_path):
    path = tmp_path / "soft.tif"
    tifffile.imwrite(path, np.full((SIDE, SIDE), 0.7, dtype=np.float32))
    with pytest.raises(InputError, match=r"soft\.tif: labels must be whole numbers"):
        decoded_labels(path)


def test_a_float_mask_of_whole_numbers_is_accepted(tmp_path):
    path = tmp_path / "float.tif"
    tifffile.imwrite(path, (RAMP % 2).astype(np.float32))
    assert np.array_equal(decoded_labels(path, label_map={0: 0, 1: 1}), RAMP % 2)


def test_label_values_outside_the_mapping_are_refused_and_listed(tmp_path):
    path = saved(tmp_path / "labels.png", RAMP % 4)
    with pytest.raises(InputError, match=r"labels\.png: label values \[1, 3\] belong to no class"):
        decoded_labels(path, label_map={0: 0, 2: 1})


def test_an_ignored_label_becomes_255(tmp_path):
    path = saved(tmp_path / "labels.png", RAMP % 2)
    assert np.array_equal(decoded_labels(path, label_map={0: 0, 1: 255}), (RAMP % 2) * 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_label_values_above_255_are_mapped(tmp_path, suffix):
    path = saved(tmp_path / f"instances.{suffix}", np.where(RAMP < 8, 0, 300).astype(np.uint16))
    assert np.array_equal(decoded_labels(path, label_map={0: 0, 300: 1}), RAMP >= 8)


@pytest.mark.parametrize("value", [256, 65536, 1 << 40, -1])
def test_label_values_are_neither_wrapped_nor_clipped_to_known_ones(value):
    with pytest.raises(InputError, match=rf"\[{value}\]"):
        map_labels(Path("labels.png"), np.array([[0, value]]), {0: 0, 255: 1})


def test_labels_are_resized_to_the_nearest_pixel(tmp_path):
    path = saved(tmp_path / "labels.png", RAMP)
    labels = decoded_labels(path, size=2, label_map={value: value for value in range(16)})
    assert labels.tolist() == [[5, 7], [13, 15]]


@pytest.mark.parametrize("size", [3, 5, 7, 11])
def test_resized_labels_have_no_new_values(tmp_path, size):
    path = saved(tmp_path / "labels.png", (RAMP % 2) * np.uint8(200))
    labels = decoded_labels(path, size=size, label_map={0: 0, 200: 200})
    assert set(np.unique(labels)) == {0, 200}


def test_a_smaller_image_is_the_mean_of_the_pixels_under_it(tmp_path):
    image = saved(tmp_path / "a.png", np.array([[0, 100], [100, 200]], dtype=np.uint8))
    labels = saved(tmp_path / "labels.png", np.zeros((2, 2), dtype=np.uint8))
    assert decode(image, labels, size=1)[0].tolist() == [[[100]]]


def test_a_larger_image_is_interpolated_bilinearly(tmp_path):
    image = saved(tmp_path / "a.png", np.array([[0, 100], [0, 100]], dtype=np.uint8))
    labels = saved(tmp_path / "labels.png", np.zeros((2, 2), dtype=np.uint8))
    assert decode(image, labels, size=4)[0][..., 0].tolist() == [[0, 25, 75, 100]] * 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize(("colour", "channels"), [("grey", 1), ("rgb", 3)])
def test_every_image_has_the_channels_of_the_asked_colour(tmp_path, mask, mode, colour, channels):
    path = saved(tmp_path / "a.tif", Image.new(mode, (SIDE, SIDE)))
    image, labels, *_ = decode(path, mask, colour=colour)
    assert (image.shape, image.dtype) == ((SIDE, SIDE, channels), np.uint8)
    assert (labels.shape, labels.dtype) == ((SIDE, SIDE), np.uint8)


def test_a_grey_image_asked_for_as_rgb_repeats_its_values(tmp_path, mask):
    image = decode(saved(tmp_path / "a.png", RAMP), mask, colour="rgb")[0]
    assert np.array_equal(image, np.repeat(RAMP[..., None], 3, axis=-1))


def test_the_digest_changes_with_either_file(tmp_path, mask):
    first, second = saved(tmp_path / "a.png", RAMP), saved(tmp_path / "b.png", RAMP + 1)
    ones = saved(tmp_path / "ones.png", ZEROS + 1)
    digests = {decode(image, labels, label_map={0: 0, 1: 1})[2] for image in (first, second) for labels in (mask, ones)}
    assert len(digests) == 4
