"""Pictures, names and folders that nobody meant well: refused in one line, or taken as plain data."""

import os
import struct
import zlib

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image
from snakemake.utils import update_config

from experiments import TINY, nested, run_snakemake
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.data.picture_file import read_picture
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.data.splits import split_pairs
from spatial_reduction.runtime.errors import InputError

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
    noise = np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for kind, pixels in (("images", noise), ("masks", labels)):
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


def test_a_link_to_a_picture_is_that_picture_and_a_broken_one_is_named(tmp_path, folder_config):
    for index in range(10):
        write_pair(tmp_path / "real", f"n{index}", all_classes())
    (tmp_path / "raw").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "images" / "n3.png").rename(tmp_path / "elsewhere.png")
    (tmp_path / "real" / "images" / "n3.png").symlink_to(tmp_path / "elsewhere.png")
    prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", folder_config, threads=1)
    (tmp_path / "elsewhere.png").unlink()
    with pytest.raises(InputError, match=r"n3\.png: No such file"):
        prepare_dataset(tmp_path / "raw", tmp_path / "again.h5", folder_config, threads=1)


def test_a_link_that_leads_to_itself_is_named(tmp_path, folder_config):
    for index in range(10):
        write_pair(tmp_path / "raw", f"n{index}", all_classes())
    (tmp_path / "raw" / "masks" / "n3.png").unlink()
    (tmp_path / "raw" / "masks" / "n3.png").symlink_to("n3.png")
    with pytest.raises(InputError, match=r"n3\.png: Too many levels"):
        prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", folder_config, threads=1)


@pytest.mark.parametrize("page", [None, 0], ids=["picture", "stack"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_refused_and_not_read(tmp_path, kind, page):
    path = tmp_path / "a.tif"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(InputError, match=r"a\.tif: not a file"):
        read_picture(path, page)


def test_a_file_too_large_for_a_picture_is_refused_before_it_is_read(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"a\.png: its 1099511627776 bytes exceed the limit of"):
        read_picture(tmp_path / "a.png", None)


@pytest.mark.parametrize("content", [b"../../secret 1 1 1", b"/etc/secret 1 1 1", b"\xff\xfe\0"], ids=str)
def test_a_list_of_names_names_files_of_its_folder_alone(tmp_path, content):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "trainval.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"trainval\.txt: ") as refused:
        list_pairs("oxford_pet", tmp_path, None)
    assert "\n" not in str(refused.value)


def test_a_list_of_a_split_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\0")
    split = {"method": "lists", "lists": dict.fromkeys(["train", "validation", "test"], str(tmp_path / "train.txt"))}
    with pytest.raises(InputError, match=r"dataset\.split\.lists\.train: .*train\.txt: not a text file"):
        split_pairs([], split)


def test_a_label_value_outside_the_mapping_is_refused_by_file_and_value(tmp_path, folder_config):
    for index in range(10):
        write_pair(tmp_path / "raw", f"n{index}", all_classes() + np.uint8(200) * np.uint8(index == 4))
    with pytest.raises(InputError, match=r"n4\.png: label values \[200, 201, 202\] belong to no class"):
        prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", folder_config, threads=1)
    assert not (tmp_path / "dataset.h5").exists()


def test_images_without_foreground_are_images(tmp_path, folder_config):
    for index in range(10):
        write_pair(tmp_path / "raw", f"n{index}", all_classes() * np.uint8(index % 2))
    prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", folder_config, threads=1)
    data = Dataset.open(tmp_path / "dataset.h5")
    assert sum(data.count(split) for split in ("train", "validation", "test")) == 10


# ---- names that a shell, or Snakemake, would take for more ----------------------------------------------------------


@pytest.mark.pipeline
def test_a_whole_run_takes_any_name_for_a_name(tmp_path):
    folder = tmp_path / "we ird'ü$(touch x)"
    pictures = folder / "-pi c'ü;$(touch x)*"
    pictures.mkdir(parents=True)
    names = [name for name in NAMES if not set(name) & set("\n{}")]
    for name in names:
        Image.fromarray(np.full((9, 7, 3), 90, np.uint8)).save(pictures / f"{name}.png")
    places = {"results": "-rf/demo", "logs": "--help/logs", "benchmarks": "-b"}
    few = {
        "pathvars": places,
        "seeds": [1],
        "evaluation": {"comparators": ["single_pass"], "controls": [], "resamples": 100},
    }
    done = run_snakemake(folder, "predict", overrides=TINY | few | {"prediction": {"images": str(pictures)}})
    assert done.returncode == 0, done.stderr
    results = folder / "-rf/demo/predictions" / pictures.name / "single_pass/top_100/seed_1/iteration_1"
    assert sorted(path.stem for path in (results / "labels").iterdir()) == sorted(names)
    assert [path for path in tmp_path.rglob("x") if path.name == "x"] == []
    expected = {"-rf", "--help", "-b", ".snakemake", pictures.name, "overrides.yaml", "stdout.txt", "stderr.txt"}
    assert {path.name for path in folder.iterdir()} == expected


@pytest.mark.parametrize("name", ["a<b>", "{x}", "a\nb"])
@pytest.mark.parametrize("key", ["dataset.root", "prediction.images", "dataset.split.lists.test"])
def test_a_path_that_snakemake_would_take_for_a_pattern_is_refused_by_its_key(refusal, key, name):
    lists = {"method": "lists", "lists": dict.fromkeys(["train", "validation", "test"], "a")}
    folder = {"dataset": {"source": "folder", "root": "raw", "split": lists}}
    update_config(folder, nested(key, name))
    assert refusal(folder).startswith(f"{key}: ")


@pytest.mark.parametrize("name", ["results/a b", "a'b", 'a"b', "a\n", "$(touch x)", "~/a", "{a}", "<a>", "ä", ""])
@pytest.mark.parametrize("key", ["results", "resources", "logs", "benchmarks"])
def test_a_folder_of_results_has_a_plain_name(refusal, key, name):
    assert refusal({"pathvars": {key: name}}).startswith(f"pathvars.{key}: ")


@pytest.mark.parametrize("name", ["pet\n", "a b", "-a", "a/b", "../a", "ä", "$(a)"])
def test_a_class_and_an_arm_have_plain_names(refusal, name):
    classes = [{"name": name, "labels": [1]}, {"name": "other", "labels": [2]}]
    assert refusal({"dataset": {"classes": classes}}).startswith("dataset.classes.0.name: ")
    assert refusal({"arms": {name: {}}}).startswith("arms: ")


# ---- files that would start a program, fill the memory or show one of several pictures ------------------------------


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"RIFF\0\0\0\0WEBPVP8 "])
def test_only_the_formats_that_are_meant_are_opened(tmp_path, content, monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *arguments, **options: pytest.fail("a program was started"))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: cannot be decoded \(no known image format\); PNG, JPEG, TIFF"):
        read_picture(tmp_path / "a.png", None)


def test_the_samples_of_a_pixel_count_in_the_size_of_a_picture(tmp_path):
    tiff_of(tmp_path / "deep.tif", 12_000, 12_000, photometric="rgb")
    with pytest.raises(InputError, match=r"deep\.tif: cannot be decoded \(144000000 pixels of 3 x 16 bits take more"):
        read_picture(tmp_path / "deep.tif", None)


def test_a_tiff_with_a_missing_strip_is_not_filled_with_zeros(tmp_path):
    path = tmp_path / "hole.tif"
    tifffile.imwrite(path, np.ones((8, 8), np.uint16), rowsperstrip=4, compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["StripByteCounts"]
        size = tag.valuebytecount // tag.count
        content[tag.valueoffset + size : tag.valueoffset + 2 * size] = bytes(size)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"hole\.tif: cannot be decoded \(the file is truncated, or a part"):
        read_picture(path, None)
