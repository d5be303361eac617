import pytest

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
    with pytest.raises(InputError, match=r"2 files have no counterpart .*\['a', 'c'\]"):
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
