import numpy as np
import pytest
from PIL import Image

from spatial_reduction.data.dataset_file import describe
from spatial_reduction.data.inspection import count_values, guess_roles, inspect_data, kind_of
from spatial_reduction.data.picture_file import read_picture
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.runtime.errors import InputError

CLASSES = [{"name": "background", "labels": [0]}, {"name": "object", "labels": [255]}]


@pytest.fixture
def section(dataset_config):
    split = dataset_config["split"] | {"method": "random", "validation_share": 25, "test_share": 25}
    return dataset_config | {"source": "folder", "classes": CLASSES, "split": split, "on_error": "skip"}


@pytest.fixture
def folder(tmp_path):
    """Twelve noisy pictures of 16 x 20 pixels, each with a square of 255 on 0 as its mask."""
    drawn = np.random.default_rng(0)
    for number in range(12):
        mask = np.zeros((16, 20), np.uint8)
        mask[4:12, 4 : 8 + number % 3] = 255
        for name, array in (("images", drawn.integers(0, 256, (16, 20, 3), np.uint8)), ("masks", mask)):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / name / f"{number:02}.png")
    return tmp_path


def replace(folder, number, array):
    Image.fromarray(array).save(folder / "masks" / f"{number:02}.png")


def test_values_are_counted_in_all_on_the_rim_and_beside_others():
    raw = np.array([[0, 0, 0, 0], [0, 7, 7, 0], [0, 7, 7, 0], [0, 0, 0, 9]])
    assert count_values(raw) == {0: (11, 11, 8, 1), 7: (4, 0, 4, 1), 9: (1, 1, 1, 1)}


def test_roles_are_guessed_from_rim_edge_and_the_value_255():
    raw = np.zeros((40, 40), int)
    raw[5:30, 5:30] = 1
    raw[5:30, 30] = 3
    assert guess_roles(count_values(raw)) == {0: "background", 1: "object", 3: "outline"}
    raw[35, 35] = 255
    assert guess_roles(count_values(raw))[255] == "void"
    assert guess_roles(count_values(np.where(raw == 1, 255, 0))) == {0: "background", 255: "object"}
    assert guess_roles(count_values(np.where(raw == 1, 0, 1))) == {1: "background", 0: "object"}


def test_what_is_found_is_what_is_prepared(folder, section, tmp_path):
    found = inspect_data(folder, section, 2)
    prepare_dataset(folder, tmp_path / "dataset.h5", section, 2)
    prepared = describe(tmp_path / "dataset.h5")
    assert [pair.error for pair in found.pairs] == [""] * 12
    for split, count in prepared["images"].items():
        assert sum(pair.split == split for pair in found.pairs) == count
    assert found.class_shares("train")[:2] == pytest.approx(list(prepared["class_share"].values()))
    assert {pair.size for pair in found.pairs} == {"20 x 16"}
    assert {pair.kinds for pair in found.pairs} == {("8 bit rgb", "8 bit grey")}
    assert found.values[255].pixels == sum(8 * (4 + number % 3) for number in range(12))
    assert found.values[255].pictures == 12


def test_pairs_that_cannot_be_used_are_named_with_the_reason_and_shown_if_their_values_alone_are_wrong(folder, section):
    (folder / "images/03.png").write_text("no picture")
    replace(folder, 4, np.zeros((3, 3), np.uint8))
    replace(folder, 5, np.full((16, 20), 77, np.uint8))
    errors = {pair.name: pair for pair in inspect_data(folder, section, 2).pairs if pair.error}
    assert set(errors) == {"03", "04", "05"}
    assert "03.png" in errors["03"].error
    assert "3x3" in errors["04"].error
    assert "[77] belong to no class" in errors["05"].error
    assert (errors["05"].labels == len(CLASSES)).all()
    assert errors["03"].labels is None
    assert errors["05"].values == {77: (320, 68, 0, 1)}


def test_a_folder_of_which_nothing_can_be_used_is_looked_at_all_the_same(folder, section):
    found = inspect_data(folder, section | {"classes": [{"name": "a", "labels": [1]}, {"name": "b", "labels": [2]}]}, 2)
    assert found.usable == []
    assert list(found.values) == [0, 255]
    assert found.twins == []


def test_twins_stand_in_one_split_as_they_will_when_the_data_are_prepared(folder, section):
    for number in range(1, 6):
        (folder / f"images/{number:02}.png").write_bytes((folder / "images/00.png").read_bytes())
    found = inspect_data(folder, section, 2)
    assert found.twins == [[f"{number:02}" for number in range(6)]]
    assert len({pair.split for pair in found.pairs if pair.name in found.twins[0]}) == 1


def test_a_split_that_cannot_be_made_is_told_and_the_rest_is_looked_at(folder, section):
    found = inspect_data(folder, section | {"split": section["split"] | {"test_share": 1}}, 2)
    assert "the test split of 12 images is empty" in found.split_error
    assert len(found.usable) == 12


def test_objects_are_counted_where_labels_hold_objects(folder, section):
    for number in range(12):
        mask = np.zeros((16, 20), np.uint16)
        mask[2:6, 2:6], mask[9:12, 9:12] = 1, 900
        replace(folder, number, mask)
    (folder / "masks").rename(folder / "instances")
    classes = [{"name": "background", "labels": [0]}, {"name": "cell", "labels": [1]}]
    given = {"source": "instances", "classes": classes, "instances": {"components_of": None, "border": 0}}
    found = inspect_data(folder, section | given, 2)
    assert [pair.objects for pair in found.usable] == [2] * 12
    assert {pair.kinds[1] for pair in found.pairs} == {"16 bit grey"}


@pytest.mark.parametrize(("mode", "kind"), [("1", "1 bit grey"), ("L", "8 bit grey"), ("P", "8 bit palette")])
def test_a_kind_is_depth_and_colour(tmp_path, mode, kind):
    Image.new("L", (4, 4)).convert(mode).save(tmp_path / "a.png", bits=8)
    assert kind_of(read_picture(tmp_path / "a.png", None)) == kind


def test_a_folder_of_another_layout_is_refused(tmp_path, section):
    with pytest.raises(InputError, match="must hold images/ and masks/"):
        inspect_data(tmp_path, section, 1)
