"""Pictures, names and folders that nobody meant well: refused in one line, or taken as plain data."""

import struct
import zlib

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from spatial_reduction.errors import InputError
from spatial_reduction.pictures import read_picture
from spatial_reduction.preparation import prepare_dataset

NAMES = ["a b", "it's", 'say "so"', "line\nbreak", "-rf", "--help", "$(touch x)", ";ls", "päw", "猫", "a..b", "%s{}"]


def png_of(width, height):
    """A PNG that claims a size, with next to nothing inside."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pieces = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def tiff_of(path, width, height, **options):
    """A TIFF that claims a size."""
    tifffile.imwrite(path, np.zeros((8, 8, 3), np.uint16), **options)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for tag, value in (("ImageWidth", width), ("ImageLength", height)):
            found = file.pages[0].tags[tag]
            content[found.valueoffset : found.valueoffset + found.valuebytecount] = struct.pack(
                "<I" if found.valuebytecount == 4 else "<H", value
            )
    path.write_bytes(content)


def test_a_png_of_50000_by_50000_pixels_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_of(50_000, 50_000))
    with pytest.raises(InputError, match=r"bomb\.png: cannot be decoded .*2500000000 pixels") as error:
        read_picture(tmp_path / "bomb.png", None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options", [{}, {"planarconfig": "separate", "photometric": "rgb"}], ids=["pillow", "tifffile"]
)
def test_a_tiff_of_50000_by_50000_pixels_is_refused_before_it_is_decoded(tmp_path, options):
    tiff_of(tmp_path / "bomb.tif", 50_000, 50_000, **options)
    with pytest.raises(InputError, match=r"bomb\.tif: cannot be decoded .*pixels") as error:
        read_picture(tmp_path / "bomb.tif", None)
    assert "\n" not in str(error.value)


@pytest.fixture
def folder_config(dataset_config):
    labels = {"background": [0], "pet": [1], "border": [2]}
    for entry in dataset_config["classes"]:
        entry["labels"] = labels[entry["name"]]
    split = dataset_config["split"] | {"method": "random", "validation_share": 20, "test_share": 20}
    return dataset_config | {"source": "folder", "split": split}


def write_pair(root, name, labels):
    for kind, pixels in (("images", np.full((16, 16, 3), 90, np.uint8)), ("masks", labels)):
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / kind / f"{name}.png")


def all_classes():
    return np.repeat(np.array([0, 1, 2, 0], np.uint8), 64).reshape(16, 16)


def test_any_file_name_is_a_name_and_nothing_else(tmp_path, folder_config):
    for name in NAMES:
        write_pair(tmp_path / "raw", name, all_classes())
    prepare_dataset(tmp_path / "raw", tmp_path / "out" / "dataset.h5", folder_config, threads=2)
    with h5py.File(tmp_path / "out" / "dataset.h5") as file:
        assert sorted(name.decode() for name in file["names"][:]) == sorted(NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dataset.h5"]


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_to_split_are_refused_in_one_line(tmp_path, folder_config, count):
    for index in range(count):
        write_pair(tmp_path / "raw", f"n{index}", all_classes())
    with pytest.raises(InputError) as error:
        prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", folder_config, threads=1)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "dataset.h5").exists()


def test_a_class_that_no_training_pixel_has_is_refused_unless_its_share_allows_it(tmp_path, folder_config):
    for index in range(10):
        write_pair(tmp_path / "raw", f"n{index}", np.minimum(all_classes(), 1))
    with pytest.raises(InputError, match="no training pixel is border"):
        prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", folder_config, threads=1)
    folder_config["classes"][-1]["share"] = [0, 100]
    prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", folder_config, threads=1)
