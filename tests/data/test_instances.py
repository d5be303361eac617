import copy
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from skimage.measure import label as skimage_label

from experiments import edited_hdf5
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.decode import Pair, decode_pair
from spatial_reduction.data.instances import Objects, connected_objects, number_objects, object_classes
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.runtime.errors import InputError

NAMES = ("background", "nucleus", "border")
NUCLEI = [{"name": name, "labels": [label], "share": [0, 100]} for label, name in enumerate(NAMES)]
HERE = Path("labels.png")


def test_a_diagonal_line_parts_two_cells():
    labels = np.ones((4, 4), dtype=np.uint8)
    np.fill_diagonal(labels, 0)
    assert connected_objects(labels, (1,)).tolist() == [[0, 1, 1, 1], [2, 0, 1, 1], [2, 2, 0, 1], [2, 2, 2, 0]]


@given(seed=st.integers(0, 1000))
def test_connected_objects_are_those_of_a_second_implementation(seed):
    labels = np.random.default_rng(seed).integers(0, 3, (9, 8), dtype=np.uint8)
    assert np.array_equal(connected_objects(labels, (0, 2)), skimage_label(labels != 1, connectivity=1))


def test_objects_are_numbered_in_the_order_of_their_values():
    numbers = number_objects(HERE, np.array([[0, 900], [70000, 7]]))
    assert numbers.dtype == np.uint16
    assert numbers.tolist() == [[0, 2], [3, 1]]
    assert number_objects(HERE, np.array([[7, 5]])).tolist() == [[2, 1]]
    assert number_objects(HERE, np.zeros((2, 2), dtype=int)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("low", "high"), [(0, 3), (1, 300), (0, 1 << 15), (5, 1 << 31)])
def test_objects_are_numbered_as_by_sorting_whatever_the_values(low, high):
    values = np.random.default_rng(0).integers(low, high, (40, 30))
    found, places = np.unique(values, return_inverse=True)
    assert np.array_equal(number_objects(HERE, values), places.reshape(40, 30) + (found[0] > 0))


def test_more_objects_than_can_be_stored_and_negative_ones_are_refused_by_file():
    assert number_objects(HERE, np.arange(65536).reshape(256, 256)).max() == 65535
    with pytest.raises(InputError, match=r"labels\.png: holds 65536 objects, more than the 65535"):
        number_objects(HERE, np.arange(1, 65537).reshape(256, 256))
    with pytest.raises(InputError, match=r"labels\.png: an object has the value -1"):
        number_objects(HERE, np.array([[-1, 0]]))


def test_the_border_of_two_touching_objects_and_of_two_apart():
    touching = np.array([[1, 1, 1, 2, 2, 2, 0]], dtype=np.uint16)
    assert object_classes(touching, 0).tolist() == [[1, 1, 1, 1, 1, 1, 0]]
    assert object_classes(touching, 1).tolist() == [[1, 1, 2, 2, 1, 1, 0]]
    assert object_classes(touching, 2).tolist() == [[1, 2, 2, 2, 2, 1, 0]]
    apart = np.array([[1, 0, 0, 2, 0, 0]], dtype=np.uint16)
    assert object_classes(apart, 1).tolist() == [[1, 0, 0, 1, 0, 0]]
    assert object_classes(apart, 2).tolist() == [[1, 2, 2, 1, 0, 0]]


@given(seed=st.integers(0, 1000), border=st.integers(1, 4))
def test_the_border_is_what_lies_near_two_objects_by_brute_force(seed, border):
    rng = np.random.default_rng(seed)
    instances = np.where(rng.random((11, 9)) < 0.2, rng.integers(1, 5, (11, 9)), 0).astype(np.uint16)
    distances = [ndimage.distance_transform_edt(instances != n) for n in np.unique(instances[instances > 0])]
    is_border = (np.array([*distances, np.full(instances.shape, 99), np.full(instances.shape, 99)]) <= border).sum(
        0
    ) > 1
    assert np.array_equal(object_classes(instances, border), np.where(is_border, 2, instances > 0))


@pytest.fixture
def nuclei(tmp_path):
    """Six pictures of 12 x 16 pixels; each holds two touching 16-bit objects and one apart."""
    for folder in ("images", "instances"):
        (tmp_path / folder).mkdir()
    for index in range(6):
        values = np.zeros((12, 16), dtype=np.uint16)
        values[2:6, 2:6], values[2:6, 6:10], values[9:11, index : index + 3] = 300, 400, 1000 + index
        Image.fromarray(values).save(tmp_path / "instances" / f"{index}.png")
        Image.fromarray((values > 0).astype(np.uint8) * 200).save(tmp_path / "images" / f"{index}.png")
    return tmp_path


@pytest.fixture
def section(config):
    """The section `dataset` for `nuclei`."""
    section = copy.deepcopy(config["dataset"])
    section |= {"source": "instances", "image_size": 16, "colour": "grey", "classes": NUCLEI}
    section["split"] |= {"method": "ordered", "validation_share": 17, "test_share": 34}
    return section | {"instances": {"components_of": None, "border": 1}}


def prepared(root, section, name="dataset.h5"):
    prepare_dataset(root, root / name, section, threads=2)
    return Dataset.open(root / name)


def test_objects_and_classes_are_those_of_the_resized_picture(nuclei, section):
    data = prepared(nuclei, section)
    assert data.has_instances
    objects, (images, labels) = data.instances("train"), data.pick("train", range(3))
    assert (objects.shape, objects.dtype) == ((3, 16, 16), np.uint16)
    assert images.shape == (3, 16, 16, 1)
    source = np.asarray(Image.open(nuclei / "instances" / "0.png"))
    rows = (np.arange(16) + 0.5) * 12 / 16  # of the original picture: 12 rows became 16, columns are as they were
    nearest = source[rows.astype(int)].astype(int)
    assert np.array_equal(objects[0], np.select([nearest == 300, nearest == 400, nearest == 1000], [1, 2, 3]))
    assert all(np.array_equal(labels[i], object_classes(objects[i], 1)) for i in range(3))
    assert set(np.unique(labels)) == {0, 1, 2}


def test_objects_are_read_by_split_and_position(nuclei, section):
    data = prepared(nuclei, section)
    with h5py.File(data.path) as file:
        stored = file["instances"][:]
    assert np.array_equal(data.instances("test", slice(1, 2)), stored[5:6])
    assert np.array_equal(data.instances("validation"), stored[3:4])
    assert np.array_equal(data.instances("train", slice(1, None)), stored[1:3])


def test_the_digest_covers_objects_that_leave_the_classes_as_they_are(nuclei, section):
    section["instances"]["border"] = 0
    first = prepared(nuclei, section).digest
    path = nuclei / "instances" / "0.png"
    values = np.array(Image.open(path))
    values[values == 400] = 300
    Image.fromarray(values).save(path)
    assert prepared(nuclei, section).digest != first


def test_an_unusable_picture_is_left_out_with_its_objects(nuclei, section):
    data = prepared(nuclei, section)
    kept = data.instances("train")[[0, 2]]
    (nuclei / "images" / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 pairs cannot be used:\n.*1\.png: cannot be decoded"):
        prepared(nuclei, section)
    assert np.array_equal(prepared(nuclei, section | {"on_error": "skip"}, "less.h5").instances("train"), kept)


def test_data_without_objects_hold_none_and_say_what_is_missing(dataset):
    assert not dataset.has_instances
    with pytest.raises(InputError, match=r"holds no instances; dataset\.instances says"):
        dataset.instances("train")


def test_objects_that_do_not_fit_the_labels_are_refused(nuclei, section):
    path = prepared(nuclei, section).path
    with edited_hdf5(path) as file:
        file["instances"].resize(5, axis=0)
    with pytest.raises(InputError, match=r"instances \(5, 16, 16\) uint16 do not fit labels \(6, 16, 16\)"):
        Dataset.open(path)


def test_cells_stay_apart_when_resizing_closes_the_membrane_between_them(tmp_path):
    labels = np.full((9, 9), 255, dtype=np.uint8)
    labels[:, 3] = 0
    Image.fromarray(labels).save(tmp_path / "a.png")
    pair = Pair("a", tmp_path / "a.png", tmp_path / "a.png")
    decoded = decode_pair(pair, 3, "grey", {0: 0, 255: 1}, None, Objects((1,), 0))
    assert (decoded.labels == 1).all()  # columns 1, 4 and 7 are left
    assert decoded.instances.tolist() == [[1, 2, 2]] * 3
