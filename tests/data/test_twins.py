import copy
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from spatial_reduction.analysis.caveats import Evidence, warn_of_data
from spatial_reduction.data.dataset_file import Dataset, describe
from spatial_reduction.data.decode import Pair
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.data.splits import SPLITS, split_pairs
from spatial_reduction.data.twins import find_twins
from spatial_reduction.runtime.errors import InputError


def photo(seed, side=64):
    """Smooth colours: few waves, as a photo has more of than of noise."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def twins_of(images, digests=None, is_near=True):
    return find_twins(digests or [str(i) for i in range(len(images))], lambda i: images[i], is_near)


def test_the_same_file_is_found_whatever_it_shows():
    grey = [np.full((16, 16, 1), 90, np.uint8)] * 4
    assert twins_of(grey) == []
    assert twins_of(grey, digests=["a", "b", "a", "c"]) == [[0, 2]]


def test_nearly_the_same_photo_is_found_and_another_is_not():
    photos = [photo(seed) for seed in range(8)]
    darker = (photos[2] * 0.7 + 20).astype(np.uint8)
    noisy = np.clip(photos[5] + np.random.default_rng(0).normal(0, 12, photos[5].shape), 0, 255).astype(np.uint8)
    cut = np.asarray(Image.fromarray(photos[7]).crop((5, 0, 64, 60)).resize((64, 64), Image.Resampling.BILINEAR))
    found = twins_of([*photos, darker, noisy, cut])
    assert found == [[2, 8], [5, 9], [7, 10]]
    assert twins_of([*photos, darker, noisy, cut], is_near=False) == []


def test_images_that_share_their_scene_are_no_twins():
    """As X-rays of the chest: the greater part is the same in all, and what is of one alone is small."""
    scene = photo(0).astype(float)
    images = [np.clip(0.85 * scene + 0.15 * photo(seed), 0, 255).astype(np.uint8) for seed in range(1, 9)]
    assert twins_of(images) == []


def test_twins_join_into_one_group():
    one = photo(3)
    assert twins_of([photo(1), one, photo(2), one, photo(4), one]) == [[1, 3, 5]]


SPLIT = {"validation_share": 20, "test_share": 30, "lists": None}


@pytest.mark.parametrize("seed", range(6))
def test_a_draw_keeps_twins_on_one_side(seed):
    pairs = [Pair(f"{i:02}", Path(), Path(), group="ab"[i % 2]) for i in range(40)]
    twins = [["00", "07", "30"], ["01", "39"], ["12", "13"]]
    parts = split_pairs(pairs, SPLIT | {"method": "random", "seed": seed}, twins)
    split_of = {pair.name: split for split in SPLITS for pair in parts[split]}
    assert len(split_of) == 40
    assert {split: len(parts[split]) for split in SPLITS} == {"train": 20, "validation": 8, "test": 12}
    assert all(len({split_of[name] for name in group}) == 1 for group in twins)
    assert all(parts[split] == sorted(parts[split], key=lambda pair: pair.name) for split in SPLITS)


def test_the_official_test_set_stays_and_the_drawn_validation_keeps_twins_together():
    pairs = [Pair(f"{i:02}", Path(), Path(), official="test" if i >= 20 else "trainval") for i in range(30)]
    twins = [["00", "05", "25"], ["03", "19"]]
    for seed in range(6):
        parts = split_pairs(pairs, SPLIT | {"method": "official", "seed": seed}, twins)
        names = {split: {pair.name for pair in parts[split]} for split in SPLITS}
        assert names["test"] == {f"{i:02}" for i in range(20, 30)}
        assert {"00", "05"} <= names["train"] or {"00", "05"} <= names["validation"]
        assert {"03", "19"} <= names["train"] or {"03", "19"} <= names["validation"]


@pytest.fixture
def section(config):
    section = copy.deepcopy(config["dataset"])
    section["classes"] = [{"name": "background", "labels": [0]}, {"name": "thing", "labels": [1]}]
    return section | {"source": "folder", "image_size": 32}


def write(root, photos):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name, pixels in photos.items():
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        Image.fromarray((pixels[..., 0] > 127).astype(np.uint8)).save(root / "masks" / f"{name}.png")


def members(path):
    with h5py.File(path) as file:
        names = file["names"].asstr()[:]
        return {split: set(names[file[f"split/{split}"][:]]) for split in SPLITS}, dict(file.attrs)


@pytest.mark.parametrize("seed", range(3))
def test_pairs_that_are_there_twice_lie_in_one_split(tmp_path, section, seed, capfd):
    write(tmp_path / "raw", {f"{letter}{i}": photo(i) for letter in "pq" for i in range(10)})
    section["split"] |= {"method": "random", "validation_share": 20, "test_share": 30, "seed": seed}
    prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", section, threads=2)
    found, attributes = members(tmp_path / "dataset.h5")
    assert all({f"p{i}", f"q{i}"} <= split for i in range(10) for split in found.values() if f"p{i}" in split)
    assert {split: len(names) for split, names in found.items()} == {"train": 10, "validation": 4, "test": 6}
    assert (attributes["twins"], attributes["parted_twins"]) == (20, 0)
    assert "10 groups of nearly identical images" in capfd.readouterr().err


def test_a_split_that_was_given_parts_twins_and_it_is_told(tmp_path, section, capfd):
    photos = {f"p{i}": photo(i) for i in range(10)}
    write(tmp_path / "raw", photos | {"q3": np.clip(photos["p3"] * 0.9, 0, 255).astype(np.uint8)})
    section["split"] |= {"method": "ordered", "validation_share": 20, "test_share": 30}
    prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", section, threads=2)
    data = describe(tmp_path / "dataset.h5")
    assert (data["parted_twins"], data["parted_twin_names"]) == (1, ["p3 (train), q3 (test)"])
    assert "in several splits: p3 (train), q3 (test)" in capfd.readouterr().err
    warnings = warn_of_data(Evidence(*[None] * 5, {}, data["parted_twins"], data["absent_classes"]))
    assert [warning.split(":")[0] for warning in warnings] == ["Duplicates"]


def test_images_that_are_all_alike_cannot_be_split_by_chance(tmp_path, section):
    write(tmp_path / "raw", {f"p{i}": photo(1) for i in range(10)})
    section["split"] |= {"method": "random", "validation_share": 20, "test_share": 30}
    with pytest.raises(InputError, match=r"is empty .*10 of them are nearly identical and stay together"):
        prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", section, threads=2)
    assert not (tmp_path / "dataset.h5").exists()


def test_a_class_that_a_split_lacks_is_told(tmp_path, section, capfd):
    photos = {f"p{i}": photo(i) for i in range(10)}
    write(tmp_path / "raw", photos)
    Image.fromarray(np.full((64, 64), 2, np.uint8)).save(tmp_path / "raw/masks/p0.png")
    section["classes"].append({"name": "rare", "labels": [2]})
    section["split"] |= {"method": "ordered", "validation_share": 20, "test_share": 30}
    prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", section, threads=2)
    data = describe(tmp_path / "dataset.h5")
    assert data["absent_classes"] == ["rare (validation)", "rare (test)"]
    assert "no test image has the class rare" in capfd.readouterr().err
    warnings = warn_of_data(Evidence(*[None] * 5, {}, data["parted_twins"], data["absent_classes"]))
    assert warnings == [
        "Absent classes: no image has rare (validation), rare (test); means over classes leave them out there."
    ]


@pytest.mark.real_data
def test_the_photos_that_are_twice_among_400_real_pets(real_data, tmp_path, config):
    section = copy.deepcopy(config["dataset"]) | {"source": "oxford_pet", "image_size": 64}
    section["split"] |= {"method": "official", "validation_share": 20}
    prepare_dataset(real_data / "oxford-iiit-pet", tmp_path / "dataset.h5", section, threads=2)
    found, attributes = members(tmp_path / "dataset.h5")
    assert (attributes["twins"], attributes["parted_twins"]) == (5, 0)
    groups = [{"Abyssinian_122", "Abyssinian_172"}, {"Abyssinian_24", "Abyssinian_56", "Abyssinian_80"}]
    assert all(any(group <= names for names in found.values()) for group in groups)


@pytest.mark.parametrize("seed", range(5))
def test_every_seed_s_own_draw_keeps_twins_together(tmp_path, section, seed):
    photos = {f"p{i:02}": photo(i) for i in range(20)}
    write(tmp_path / "raw", photos | {f"q{i}": photos[f"p{i:02}"] for i in range(3)})
    section["split"] |= {"method": "random", "validation_share": 30, "test_share": 20, "per_seed": True}
    prepare_dataset(tmp_path / "raw", tmp_path / "dataset.h5", section, threads=2)
    data = Dataset.open(tmp_path / "dataset.h5", seed)
    names = {split: set(data.names(split)) for split in SPLITS}
    assert {split: len(found) for split, found in names.items()} == {"train": 13, "validation": 6, "test": 4}
    assert all({f"p{i:02}", f"q{i}"} <= found for i in range(3) for found in names.values() if f"q{i}" in found)
