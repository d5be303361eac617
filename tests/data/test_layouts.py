from pathlib import Path

import pytest
from PIL import Image

from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.runtime.errors import InputError


def write_oxford(root, trainval, test):
    for folder in ("images", "annotations/trimaps"):
        (root / folder).mkdir(parents=True)
    for part, names in {"trainval": trainval, "test": test}.items():
        (root / "annotations" / f"{part}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
    for name in {*trainval, *test}:
        (root / "images" / f"{name}.jpg").touch()
        (root / "annotations" / "trimaps" / f"{name}.png").touch()


def write_folder(root, images, masks):
    for folder, names in {"images": images, "masks": masks}.items():
        (root / folder).mkdir()
        for name in names:
            (root / folder / name).touch()


def names_of(pairs):
    return [pair.name for pair in pairs]


def test_oxford_pairs_are_those_of_the_lists_sorted_by_name(tmp_path):
    write_oxford(tmp_path, trainval=["pug_2", "Abyssinian_1"], test=["beagle_7"])
    pairs = list_pairs("oxford_pet", tmp_path, None)
    assert [(pair.name, pair.official) for pair in pairs] == [
        ("Abyssinian_1", "trainval"),
        ("beagle_7", "test"),
        ("pug_2", "trainval"),
    ]


def test_an_oxford_pair_names_its_image_its_trimap_and_its_breed(tmp_path):
    write_oxford(tmp_path, trainval=["german_shorthaired_12"], test=[])
    (pair,) = list_pairs("oxford_pet", tmp_path, None)
    assert pair.image == tmp_path / "images" / "german_shorthaired_12.jpg"
    assert pair.labels == tmp_path / "annotations" / "trimaps" / "german_shorthaired_12.png"
    assert pair.group == "german_shorthaired"


def test_stray_files_of_the_oxford_release_play_no_part(tmp_path):
    write_oxford(tmp_path, trainval=["pug_1"], test=["pug_2"])
    for stray in ("images/Abyssinian_34.mat", "images/unlisted_1.jpg", "annotations/trimaps/._pug_1.png"):
        (tmp_path / stray).touch()
    assert names_of(list_pairs("oxford_pet", tmp_path, None)) == ["pug_1", "pug_2"]


def test_comments_and_blank_lines_of_an_oxford_list_play_no_part(tmp_path):
    write_oxford(tmp_path, trainval=["pug_1"], test=["pug_2"])
    (tmp_path / "annotations" / "test.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n\npug_2 1 2 1\n")
    assert names_of(list_pairs("oxford_pet", tmp_path, None)) == ["pug_1", "pug_2"]


@pytest.mark.parametrize(
    ("trainval", "test"), [(["pug_1"], ["pug_1"]), (["pug_1", "pug_1"], ["pug_2"])], ids=["two lists", "one list"]
)
def test_a_name_listed_twice_is_refused(tmp_path, trainval, test):
    write_oxford(tmp_path, trainval, test)
    with pytest.raises(InputError, match=r"\.txt: pug_1 is listed twice"):
        list_pairs("oxford_pet", tmp_path, None)


@pytest.mark.parametrize("missing", ["trainval", "test"])
def test_a_missing_oxford_list_is_refused_by_name(tmp_path, missing):
    write_oxford(tmp_path, trainval=["pug_1"], test=["pug_2"])
    (tmp_path / "annotations" / f"{missing}.txt").unlink()
    with pytest.raises(InputError, match=rf"{missing}\.txt: missing"):
        list_pairs("oxford_pet", tmp_path, None)


def test_folder_pairs_have_equal_stems_sorted_whatever_their_formats(tmp_path):
    write_folder(tmp_path, images=["b.jpg", "a.TIF", "c.jpeg"], masks=["c.png", "a.png", "b.tiff"])
    pairs = list_pairs("folder", tmp_path, None)
    assert [(pair.name, pair.image.name, pair.labels.name) for pair in pairs] == [
        ("a", "a.TIF", "a.png"),
        ("b", "b.jpg", "b.tiff"),
        ("c", "c.jpeg", "c.png"),
    ]


def test_stems_without_counterpart_are_refused_and_listed(tmp_path):
    write_folder(tmp_path, images=["a.png", "b.png"], masks=["b.png", "c.png"])
    with pytest.raises(
        InputError,
        match=r"masks/ lacks a\.\*, whose counterparts are in images/; images/ lacks c\.\*, whose .* masks/$",
    ):
        list_pairs("folder", tmp_path, None)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_two_files_of_one_stem_are_refused_by_folder_and_stem(tmp_path, folder):
    write_folder(tmp_path, images=["a.png"], masks=["a.png"])
    (tmp_path / folder / "a.tif").touch()
    with pytest.raises(InputError, match=rf"{folder}: more than one file has the stem \['a'\]"):
        list_pairs("folder", tmp_path, None)


def test_hidden_files_and_other_formats_of_a_folder_play_no_part(tmp_path):
    write_folder(tmp_path, images=["a.png", "._a.png", ".b.png", "notes.txt"], masks=["a.png", "Thumbs.db"])
    assert names_of(list_pairs("folder", tmp_path, None)) == ["a"]


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_a_missing_subfolder_is_refused_by_name(tmp_path, missing):
    write_folder(tmp_path, images=[], masks=[])
    (tmp_path / missing).rmdir()
    with pytest.raises(InputError, match=rf"{missing}: missing"):
        list_pairs("folder", tmp_path, None)


def test_a_limit_takes_the_first_names_in_sorted_order(tmp_path):
    files = [f"{name}.png" for name in "dbeac"]
    write_folder(tmp_path, images=files, masks=files)
    assert names_of(list_pairs("folder", tmp_path, 3)) == ["a", "b", "c"]


def test_a_limit_above_the_number_of_pairs_takes_them_all(tmp_path):
    write_folder(tmp_path, images=["a.png"], masks=["a.png"])
    assert names_of(list_pairs("folder", tmp_path, 3)) == ["a"]


def test_an_empty_folder_is_refused(tmp_path):
    write_folder(tmp_path, images=[], masks=[])
    with pytest.raises(InputError, match="holds no image for the source folder"):
        list_pairs("folder", tmp_path, None)


def test_empty_oxford_lists_are_refused(tmp_path):
    write_oxford(tmp_path, trainval=[], test=[])
    with pytest.raises(InputError, match="holds no image for the source oxford_pet"):
        list_pairs("oxford_pet", tmp_path, None)


def write_pictures(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)


LAYOUT = {"images": "images", "labels": "labels", "image_suffix": "", "label_suffix": ""}


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        (LAYOUT, ["images/a.png", "images/b.tif", "labels/a.png", "labels/b.png"]),
        (
            LAYOUT | {"label_suffix": "_mask"},
            ["images/a.jpg", "images/b.jpg", "labels/a_mask.png", "labels/b_mask.png"],
        ),
        (
            LAYOUT | {"images": ".", "labels": ".", "label_suffix": "_mask"},
            ["a.png", "a_mask.png", "b.png", "b_mask.png"],
        ),
        (LAYOUT | {"images": ".", "labels": "seg"}, ["a.png", "b.png", "seg/a.png", "seg/b.png"]),
        (
            LAYOUT | {"images": "x", "labels": "x", "image_suffix": "_img", "label_suffix": "_img_mask"},
            ["x/a_img.png", "x/a_img_mask.png", "x/b_img.png", "x/b_img_mask.png"],
        ),
        (
            LAYOUT | {"images": "x", "labels": "x", "image_suffix": "_raw_mask", "label_suffix": "_mask"},
            ["x/a_raw_mask.png", "x/a_mask.png", "x/b_raw_mask.png", "x/b_mask.png"],
        ),
    ],
)
@pytest.mark.parametrize("source", ["folder", "instances"])
def test_pictures_and_labels_are_found_by_the_folders_and_endings_of_the_layout(tmp_path, source, layout, files):
    write_pictures(*(tmp_path / name for name in files))
    pairs = list_pairs(source, tmp_path, None, layout=layout)
    assert [pair.name for pair in pairs] == ["a", "b"]
    assert sorted(str(path.relative_to(tmp_path)) for pair in pairs for path in (pair.image, pair.labels)) == sorted(
        files
    )
    label_folder, ending = Path(layout["labels"]), layout["label_suffix"]
    assert [pair.labels.relative_to(tmp_path).with_suffix("") for pair in pairs] == [
        label_folder / f"{name}{ending}" for name in "ab"
    ]


def test_labels_that_all_have_the_same_ending_are_told_the_key_that_reads_them(tmp_path):
    write_pictures(
        *(tmp_path / name for name in ["images/a.png", "images/b.png", "masks/a_seg.png", "masks/b_seg.png"])
    )
    with pytest.raises(InputError, match=r"'_seg', say so in dataset\.layout\.label_suffix"):
        list_pairs("folder", tmp_path, None)


def test_a_label_without_the_ending_is_named(tmp_path):
    write_pictures(*(tmp_path / name for name in ["images/a.png", "images/b.png", "masks/a_seg.png", "masks/b.png"]))
    with pytest.raises(InputError, match=r"masks: 1 pictures do not end with '_seg': \['b\.png'\]"):
        list_pairs("folder", tmp_path, None, layout=LAYOUT | {"labels": "masks", "label_suffix": "_seg"})


@pytest.mark.parametrize("wrong", [".", "up/data/images", "up"])
def test_a_root_at_the_wrong_depth_is_told_the_right_one(tmp_path, wrong):
    write_pictures(tmp_path / "up/data/images/a.png", tmp_path / "up/data/masks/a.png")
    with pytest.raises(InputError, match=rf"did you mean dataset\.root: {tmp_path}/up/data\?"):
        list_pairs("folder", tmp_path / wrong, None)


def test_no_other_root_is_proposed_where_none_would_do(tmp_path):
    write_pictures(tmp_path / "a/images/a.png")
    with pytest.raises(InputError) as refused:
        list_pairs("folder", tmp_path / "a", None)
    assert "did you mean" not in str(refused.value)


def test_bmp_and_gif_are_pictures_and_files_of_other_suffixes_are_named(tmp_path, capfd):
    write_folder(tmp_path, images=["a.BMP", "b.gif", "c.webp"], masks=["a.bmp", "b.png", "c.webp"])
    assert names_of(list_pairs("folder", tmp_path, None)) == ["a", "b"]
    said = capfd.readouterr().err
    assert "images: 1 files are not read, for their suffix is none of a picture: ['c.webp']" in said
    assert "masks: 1 files are not read" in said


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfpug_1 1 1 1\r\n", "\ufeffpug_1 1 1 1\r\n".encode("utf-16-le")])
def test_an_oxford_list_may_come_from_windows(tmp_path, content):
    write_oxford(tmp_path, trainval=["pug_1"], test=["pug_2"])
    (tmp_path / "annotations" / "trainval.txt").write_bytes(content)
    assert names_of(list_pairs("oxford_pet", tmp_path, None)) == ["pug_1", "pug_2"]


def test_names_of_two_unicode_forms_are_one_name(tmp_path):
    composed, decomposed = "h\u00f6rnchen", "ho\u0308rnchen"
    write_folder(tmp_path, images=[f"{decomposed}.png"], masks=[f"{composed}.png"])
    assert names_of(list_pairs("folder", tmp_path, None)) == [composed]
    (tmp_path / "images" / f"{composed}.tif").touch()
    with pytest.raises(InputError, match="more than one file has the stem"):
        list_pairs("folder", tmp_path, None)


def test_a_name_that_is_not_utf8_is_refused_in_plain_characters(tmp_path):
    write_folder(tmp_path, images=["a.png"], masks=["a.png"])
    for folder in ("images", "masks"):
        with open(bytes(tmp_path / folder) + b"/caf\xe9.png", "wb"):
            pass
    with pytest.raises(InputError, match=r"'caf\\udce9': the name of a file is not UTF-8") as refused:
        list_pairs("folder", tmp_path, None)
    assert str(refused.value).isascii()
