import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from experiments import edited_hdf5
from spatial_reduction.data.dataset_file import Dataset, describe
from spatial_reduction.runtime.errors import InputError

SPLITS = ("train", "validation", "test")


@pytest.fixture
def own_path(dataset_path, tmp_path):
    """A copy of the prepared file that a test may change."""
    return shutil.copy(dataset_path, tmp_path / "own.h5")


def read_whole(dataset, split):
    with h5py.File(dataset.path) as file:
        rows = file[f"split/{split}"][:]
        return file["images"][:][rows], file["labels"][:][rows]


def refusal_of(path):
    with pytest.raises(InputError) as refusal:
        Dataset.open(path)
    message = str(refusal.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def test_the_description_is_that_of_the_file(dataset):
    assert dataset.classes == ("background", "pet", "border")
    assert dataset.image_shape == (16, 16, 3)
    assert dataset.pixel_count == 256
    assert len(dataset.mean) == len(dataset.std) == 3
    assert len(dataset.digest) == 64
    rows = {split: rows.tolist() for split, rows in dataset.rows.items()}
    assert rows == {"train": [*range(10)], "validation": [10, 11], "test": [*range(12, 24)]}
    assert [dataset.count(split) for split in SPLITS] == [10, 2, 12]


def test_class_indices_follow_the_asked_names(dataset):
    assert dataset.class_indices(["border", "background"]) == [2, 0]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("images_at_a_time", [1, 5, 12, 100])
def test_blocks_cover_a_split_in_order(dataset, split, images_at_a_time, monkeypatch):
    monkeypatch.setattr("spatial_reduction.data.dataset_file.BLOCK_PIXELS", images_at_a_time * 256)
    blocks = list(dataset.blocks(split))
    covered = [position for where, _, _ in blocks for position in range(where.start, where.stop)]
    assert covered == list(range(dataset.count(split)))
    assert len(blocks) == dataset.block_count(split)
    assert all(len(images) == len(labels) == where.stop - where.start for where, images, labels in blocks)
    assert max(len(images) for _, images, _ in blocks) == min(images_at_a_time, dataset.count(split))
    images, labels = dataset.pick(split, range(dataset.count(split)))
    assert np.array_equal(np.concatenate([block[1] for block in blocks]), images)
    assert np.array_equal(np.concatenate([block[2] for block in blocks]), labels)


def test_a_block_is_bounded_in_pixels(dataset):
    assert dataset.block == 2**19 // 256
    assert replace(dataset, image_shape=(128, 128, 3)).block == 32
    assert replace(dataset, image_shape=(4096, 4096, 3)).block == 1


@pytest.mark.parametrize("split", SPLITS)
def test_picked_images_are_those_at_their_position_in_the_split(dataset, split):
    positions = [0, dataset.count(split) - 1]
    images, labels = read_whole(dataset, split)
    picked_images, picked_labels = dataset.pick(split, positions)
    assert np.array_equal(picked_images, images[positions])
    assert np.array_equal(picked_labels, labels[positions])


def test_instances_are_those_at_their_position_in_the_split(dataset, own_path):
    assert not dataset.has_instances
    instances = np.random.default_rng(0).integers(0, 400, (24, 16, 16), dtype=np.uint16)
    with edited_hdf5(own_path) as file:
        file["instances"] = instances
    own = Dataset.open(own_path)
    assert own.has_instances
    found = own.instances("test", slice(2, 5))
    assert found.dtype == np.uint16
    assert np.array_equal(found, instances[14:17])
    assert np.array_equal(own.instances("validation", slice(0, 2)), instances[10:12])


def test_names_are_those_of_the_split_in_order(dataset):
    with h5py.File(dataset.path) as file:
        stored = [name.decode() for name in file["names"][:]]
    assert [name for split in SPLITS for name in dataset.names(split)] == stored
    assert dataset.names("validation") == stored[10:12]


def test_a_file_cut_in_half_is_refused_in_one_line_naming_it(own_path):
    content = own_path.read_bytes()
    own_path.write_bytes(content[: len(content) // 2])
    assert "not a readable HDF5 file" in refusal_of(own_path)


@pytest.mark.parametrize("content", [b"", b"no HDF5"])
def test_a_file_that_is_not_hdf5_is_refused_in_one_line_naming_it(own_path, content):
    own_path.write_bytes(content)
    assert "not a readable HDF5 file" in refusal_of(own_path)


def test_a_missing_file_is_refused_in_one_line_naming_it(tmp_path):
    assert "not a readable HDF5 file" in refusal_of(tmp_path / "gone.h5")


def test_a_file_of_another_kind_is_refused_naming_both_kinds(own_path):
    with edited_hdf5(own_path) as file:
        file.attrs["kind"] = "mask"
    message = refusal_of(own_path)
    assert "expected a dataset file" in message
    assert "found kind mask" in message


def test_an_hdf5_file_without_kind_is_refused(own_path):
    with edited_hdf5(own_path) as file:
        del file.attrs["kind"]
    assert "found kind None" in refusal_of(own_path)


def test_a_file_of_another_schema_version_is_refused_naming_both_versions(own_path):
    with edited_hdf5(own_path) as file:
        file.attrs["schema_version"] = 99
    message = refusal_of(own_path)
    assert "schema version 1" in message
    assert "version 99" in message


def test_labels_that_do_not_fit_the_images_are_refused(own_path):
    with edited_hdf5(own_path) as file:
        file["labels"].resize(23, axis=0)
    assert "do not fit labels (23, 16, 16)" in refusal_of(own_path)


def test_a_split_that_is_not_one_run_of_images_is_refused(own_path):
    with edited_hdf5(own_path) as file:
        file["split/train"][0] = 5
    assert "split/train is not one run of images" in refusal_of(own_path)


def test_describe_counts_images_and_gives_class_shares_in_per_cent(dataset_path, dataset):
    description = describe(dataset_path)
    assert description["images"] == {"train": 10, "validation": 2, "test": 12}
    assert description["image_shape"] == [16, 16, 3]
    _, labels = read_whole(dataset, "train")
    assert description["class_share"] == {
        name: pytest.approx(100 * (labels == i).mean()) for i, name in enumerate(dataset.classes)
    }
    assert description["left_out"] == []


def test_each_seed_draws_its_own_training_and_validation_images_and_tests_the_same(per_seed, dataset):
    own = [Dataset.open(per_seed, seed) for seed in range(20)]
    assert all(np.array_equal(data.rows["test"], dataset.rows["test"]) for data in own)
    for data in own:
        assert [data.count(split) for split in SPLITS] == [10, 2, 12]
        assert sorted([*data.rows["train"], *data.rows["validation"]]) == [*range(12)]
    assert len({tuple(data.rows["validation"]) for data in own}) > 10
    assert len({data.digest for data in own}) == len({tuple(data.rows["train"]) for data in own})
    assert np.array_equal(Dataset.open(per_seed, 3).rows["train"], own[3].rows["train"])


def test_the_images_of_a_seed_are_those_of_its_rows(per_seed):
    data = Dataset.open(per_seed, 5)
    with h5py.File(per_seed) as file:
        images, labels, names = file["images"][:], file["labels"][:], file["names"].asstr()[:]
    for split in SPLITS:
        rows = data.rows[split]
        assert np.array_equal(np.concatenate([block[1] for block in data.blocks(split)]), images[rows])
        assert np.array_equal(data.pick(split, [1, 0])[1], labels[rows[[1, 0]]])
        assert data.names(split) == names[rows].tolist()
    assert data.mean == pytest.approx(images[data.rows["train"]].mean(axis=(0, 1, 2)) / 255)


def test_without_a_seed_the_split_is_the_one_prepared(per_seed, dataset):
    plain = Dataset.open(per_seed)
    assert plain == replace(dataset, path=plain.path)
    assert all(np.array_equal(plain.rows[split], dataset.rows[split]) for split in SPLITS)


def test_a_file_with_one_split_has_it_for_every_seed(dataset):
    own = Dataset.open(dataset.path, 7)
    assert own == dataset
    assert all(np.array_equal(own.rows[split], dataset.rows[split]) for split in SPLITS)
