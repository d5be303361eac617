import copy
import shutil

import h5py
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image, ImageOps

from experiments import ROOT
from spatial_reduction.data.decode import decode_pair
from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.data.prepare import label_map, prepare_dataset
from spatial_reduction.data.shown_picture import ShownPicture
from spatial_reduction.runtime.errors import InputError

ARRAYS = {"images", "labels", "names", "group", "left_out", "sha256", "split/train", "split/validation", "split/test"}
PET, BACKGROUND, BORDER = 1, 2, 3


@pytest.fixture
def own_pets(pets, tmp_path):
    """A copy of `pets` that a test may change."""
    return shutil.copytree(pets, tmp_path / "own_pets")


@pytest.fixture
def prepare(tmp_path):
    """Prepare a folder into an otherwise empty directory; return all arrays and attributes of the file."""

    def run(root, config, threads=2):
        path = tmp_path / "prepared" / "dataset.h5"
        prepare_dataset(root, path, config, threads)
        return read(path)

    return run


def read(path):
    with h5py.File(path) as file:
        arrays = {}
        file.visititems(lambda name, node: arrays.update({name: node[:]}) if isinstance(node, h5py.Dataset) else None)
        return arrays, dict(file.attrs)


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def same_bytes(first, second):
    return first.keys() == second.keys() and all(
        a.dtype == second[name].dtype and a.tolist() == second[name].tolist() for name, a in first.items()
    )


def by_name(arrays):
    return {name: (arrays["images"][i], arrays["labels"][i]) for i, name in enumerate(arrays["names"])}


def break_three_pairs(root):
    """Cut one image, shrink one trimap, write a wrong value into one; return the three names."""
    cut, small, wrong = "Plain_cat_1", "plain_dog_2", "spotted_dog_3"
    image = root / "images" / f"{cut}.jpg"
    image.write_bytes(image.read_bytes()[:300])
    trimaps = root / "annotations" / "trimaps"
    Image.new("L", (31, 32), PET).save(trimaps / f"{small}.png")
    Image.new("L", (32, 32), 9).save(trimaps / f"{wrong}.png")
    return cut, small, wrong


def test_the_file_holds_the_arrays_of_the_contract(dataset_path):
    arrays, _ = read(dataset_path)
    assert arrays.keys() == ARRAYS
    assert (arrays["images"].shape, arrays["images"].dtype) == ((24, 16, 16, 3), np.uint8)
    assert (arrays["labels"].shape, arrays["labels"].dtype) == ((24, 16, 16), np.uint8)
    assert {len(arrays[name]) for name in ("names", "group", "sha256")} == {24}
    assert arrays["left_out"].size == 0


def test_the_file_says_its_kind_version_classes_and_label_mapping(dataset_path):
    _, attributes = read(dataset_path)
    assert (attributes["kind"], attributes["schema_version"]) == ("dataset", 1)
    assert attributes["classes"].tolist() == ["background", "pet", "border"]
    assert attributes["label_mapping"].tolist() == ["background: [2]", "pet: [1]", "border: [3]"]


def test_the_splits_are_stored_one_after_the_other_and_cover_every_image(dataset_path):
    arrays, _ = read(dataset_path)
    assert arrays["split/train"].tolist() == list(range(10))
    assert arrays["split/validation"].tolist() == [10, 11]
    assert arrays["split/test"].tolist() == list(range(12, 24))


def test_the_test_split_is_the_official_list(dataset_path, pets):
    arrays, _ = read(dataset_path)
    listed = [line.split()[0] for line in (pets / "annotations" / "test.txt").read_text().splitlines()]
    assert [name.decode() for name in arrays["names"][arrays["split/test"]]] == sorted(listed)


def test_every_image_stands_beside_its_own_labels_name_group_and_digest(dataset_path, dataset_config, pets):
    arrays, _ = read(dataset_path)
    pairs = {pair.name: pair for pair in list_pairs("oxford_pet", pets, None)}
    for i, name in enumerate(arrays["names"]):
        pair = pairs[name.decode()]
        image, labels, digest, *_ = decode_pair(pair, 16, "rgb", label_map(dataset_config), None)
        assert np.array_equal(arrays["images"][i], image)
        assert np.array_equal(arrays["labels"][i], labels)
        assert (arrays["group"][i].decode(), arrays["sha256"][i].decode()) == (pair.group, digest)


def test_channel_mean_and_std_are_those_of_the_training_images(dataset_path):
    arrays, attributes = read(dataset_path)
    train = arrays["images"][arrays["split/train"]] / 255
    assert attributes["channel_mean"] == pytest.approx(train.mean(axis=(0, 1, 2)), abs=1e-9)
    assert attributes["channel_std"] == pytest.approx(train.std(axis=(0, 1, 2)), abs=1e-9)


def test_class_shares_are_per_cent_of_the_training_pixels(dataset_path):
    arrays, attributes = read(dataset_path)
    labels = arrays["labels"][arrays["split/train"]]
    assert attributes["class_share"] == pytest.approx([100 * (labels == i).mean() for i in range(3)])
    assert attributes["class_share"].sum() == pytest.approx(100)


def test_preparing_twice_gives_the_same_bytes(prepare, pets, dataset_config, dataset_path):
    arrays, attributes = prepare(pets, dataset_config)
    first_arrays, first_attributes = read(dataset_path)
    assert same_bytes(arrays, first_arrays)
    assert same_bytes(
        {name: np.asarray(value) for name, value in attributes.items()},
        {name: np.asarray(value) for name, value in first_attributes.items()},
    )


def test_one_thread_and_four_threads_give_the_same(prepare, pets, dataset_config):
    one, four = prepare(pets, dataset_config, threads=1), prepare(pets, dataset_config, threads=4)
    assert same_bytes(one[0], four[0])
    assert one[1]["digest"] == four[1]["digest"]


def test_the_digests_do_not_depend_on_where_the_folder_lies(prepare, own_pets, dataset_config, dataset_path):
    _, attributes = prepare(own_pets, dataset_config)
    _, first = read(dataset_path)
    assert (attributes["digest"], attributes["source_digest"]) == (first["digest"], first["source_digest"])


def test_both_digests_change_with_one_label_pixel(prepare, own_pets, dataset_config, dataset_path):
    path = own_pets / "annotations" / "trimaps" / "Plain_cat_1.png"
    trimap = np.array(Image.open(path))
    trimap[1, 1] = BORDER if trimap[1, 1] != BORDER else PET
    Image.fromarray(trimap).save(path)
    _, attributes = prepare(own_pets, dataset_config)
    _, first = read(dataset_path)
    assert attributes["digest"] != first["digest"]
    assert attributes["source_digest"] != first["source_digest"]


def test_the_digest_changes_with_the_size_and_the_source_digest_does_not(prepare, pets, dataset_config, dataset_path):
    _, attributes = prepare(pets, dataset_config | {"image_size": 8})
    _, first = read(dataset_path)
    assert attributes["digest"] != first["digest"]
    assert attributes["source_digest"] == first["source_digest"]


def test_the_digest_changes_when_an_image_changes_its_split_but_not_its_place(prepare, pets, dataset_config, tmp_path):
    names = [pair.name for pair in list_pairs("oxford_pet", pets, None)]
    lists = {split: str(tmp_path / split) for split in ("train", "validation", "test")}
    dataset_config["split"] |= {"method": "lists", "lists": lists}
    prepared = []
    for end_of_train in (10, 11):
        parts = {"train": names[:end_of_train], "validation": names[end_of_train:12], "test": names[12:]}
        for split, members in parts.items():
            (tmp_path / split).write_text("\n".join(members))
        prepared.append(prepare(pets, dataset_config))
    (first, first_attributes), (second, second_attributes) = prepared
    assert np.array_equal(first["images"], second["images"])
    assert first_attributes["digest"] != second_attributes["digest"]


def test_grey_images_have_one_channel_and_one_mean(prepare, pets, dataset_config):
    arrays, attributes = prepare(pets, dataset_config | {"colour": "grey"})
    assert arrays["images"].shape == (24, 16, 16, 1)
    assert attributes["channel_mean"].shape == attributes["channel_std"].shape == (1,)


def test_a_limit_prepares_the_first_names_only(prepare, pets, dataset_config):
    config = dataset_config | {"limit": 12}
    config["split"] = dataset_config["split"] | {"validation_share": 40}
    arrays, _ = prepare(pets, config)
    assert sorted(arrays["names"]) == sorted(p.name.encode() for p in list_pairs("oxford_pet", pets, None)[:12])


def test_ignored_pixels_are_255_and_count_in_no_class(prepare, pets, dataset_config):
    config = dataset_config | {"classes": dataset_config["classes"][:2], "ignored_labels": [BORDER]}
    arrays, attributes = prepare(pets, config)
    labels = arrays["labels"][arrays["split/train"]]
    assert set(np.unique(labels)) == {0, 1, 255}
    assert attributes["class_share"] == pytest.approx([100 * (labels == i).mean() for i in range(2)])


def test_several_label_values_may_form_one_class(prepare, pets, dataset_config, dataset_path):
    config = dataset_config | {
        "classes": [{"name": "background", "labels": [BACKGROUND]}, {"name": "animal", "labels": [PET, BORDER]}]
    }
    arrays, _ = prepare(pets, config)
    assert np.array_equal(arrays["labels"], read(dataset_path)[0]["labels"] > 0)


def test_stop_lists_all_offenders_in_one_message_and_leaves_no_file(prepare, own_pets, dataset_config, tmp_path):
    broken = break_three_pairs(own_pets)
    with pytest.raises(InputError) as refusal:
        prepare(own_pets, dataset_config)
    message = str(refusal.value)
    assert message.startswith("3 pairs cannot be used:")
    assert all(name in message for name in broken)
    assert files_below(tmp_path / "prepared") == []


def test_a_failed_preparation_keeps_the_older_file(prepare, own_pets, dataset_config, tmp_path):
    prepare(own_pets, dataset_config)
    (path,) = files_below(tmp_path / "prepared")
    before = path.read_bytes()
    break_three_pairs(own_pets)
    with pytest.raises(InputError):
        prepare(own_pets, dataset_config)
    assert files_below(tmp_path / "prepared") == [path]
    assert path.read_bytes() == before


def test_skip_leaves_offenders_out_and_lists_them(prepare, own_pets, dataset_config):
    broken = break_three_pairs(own_pets)
    arrays, _ = prepare(own_pets, dataset_config | {"on_error": "skip"})
    listed = [reason.decode() for reason in arrays["left_out"]]
    assert len(listed) == 3
    assert all(any(name in reason for reason in listed) for name in broken)
    assert not {name.encode() for name in broken} & set(arrays["names"])


def test_skip_keeps_every_other_image_in_its_split_beside_its_labels(prepare, own_pets, dataset_config, dataset_path):
    broken = {name.encode() for name in break_three_pairs(own_pets)}
    arrays, _ = prepare(own_pets, dataset_config | {"on_error": "skip"})
    whole, _ = read(dataset_path)
    assert len(arrays["images"]) == len(arrays["labels"]) == len(arrays["names"]) == 21
    indices = [arrays[f"split/{split}"] for split in ("train", "validation", "test")]
    assert np.concatenate(indices).tolist() == list(range(21))
    for split in ("train", "validation", "test"):
        expected = [name for name in whole["names"][whole[f"split/{split}"]] if name not in broken]
        assert arrays["names"][arrays[f"split/{split}"]].tolist() == expected
    expected = by_name(whole)
    for name, (image, labels) in by_name(arrays).items():
        assert np.array_equal(image, expected[name][0])
        assert np.array_equal(labels, expected[name][1])


def test_skip_refuses_to_leave_a_split_without_images(prepare, own_pets, dataset_config, dataset_path, tmp_path):
    arrays, _ = read(dataset_path)
    for name in arrays["names"][arrays["split/validation"]]:
        (own_pets / "images" / f"{name.decode()}.jpg").unlink()
    with pytest.raises(InputError, match="2 pairs cannot be used"):
        prepare(own_pets, dataset_config | {"on_error": "skip"})
    assert files_below(tmp_path / "prepared") == []


def test_an_implausible_class_share_is_refused_by_class_and_leaves_no_file(prepare, pets, dataset_config, tmp_path):
    config = copy.deepcopy(dataset_config)
    config["classes"][1]["share"] = [90, 100]
    with pytest.raises(InputError, match=r"pet covers \d+\.\d % of the training pixels, expected 90 to 100 %"):
        prepare(pets, config)
    assert files_below(tmp_path / "prepared") == []


def test_swapped_labels_are_caught_by_the_configured_shares(prepare, pets, config):
    section = copy.deepcopy(config["dataset"]) | {"image_size": 16}
    section["classes"][0]["labels"], section["classes"][1]["labels"] = [PET], [BACKGROUND]
    with pytest.raises(InputError, match="is the label mapping right"):
        prepare(pets, section)


def test_a_trimap_without_any_pet_pixel_is_accepted(prepare, own_pets, dataset_config):
    trimap = Image.new("L", (32, 32), BACKGROUND)
    trimap.putpixel((5, 5), BORDER)
    trimap.save(own_pets / "annotations" / "trimaps" / "Plain_cat_1.png")
    arrays, _ = prepare(own_pets, dataset_config)
    assert arrays["left_out"].size == 0
    assert 1 not in by_name(arrays)[b"Plain_cat_1"][1]


@pytest.mark.real_data
def test_400_real_pets_are_prepared_with_plausible_class_shares(prepare, real_data, config):
    section = copy.deepcopy(config["dataset"]) | {"source": "oxford_pet", "image_size": 32}
    section["split"] |= {"method": "official", "validation_share": 20}
    arrays, attributes = prepare(real_data / "oxford-iiit-pet", section)
    counts = {split: len(arrays[f"split/{split}"]) for split in ("train", "validation", "test")}
    assert counts == {"train": 177, "validation": 44, "test": 179}
    assert arrays["images"].shape == (400, 32, 32, 3)
    assert arrays["left_out"].size == 0
    background, pet, border = attributes["class_share"]
    assert 40 <= background <= 90
    assert 5 <= pet <= 50
    assert 2 <= border <= 30


@pytest.mark.real_data
def test_120_real_pictures_of_nuclei_are_prepared_from_a_plain_folder(prepare, real_data, config):
    section = copy.deepcopy(config["dataset"]) | {
        "source": "folder",
        "image_size": 32,
        "colour": "grey",
        "classes": [{"name": "background", "labels": [0]}, {"name": "nucleus", "labels": [255]}],
    }
    section["split"] |= {"method": "random", "validation_share": 15, "test_share": 25}
    arrays, attributes = prepare(real_data / "dsb2018-nuclei", section)
    counts = {split: len(arrays[f"split/{split}"]) for split in ("train", "validation", "test")}
    assert counts == {"train": 72, "validation": 18, "test": 30}
    assert arrays["images"].shape == (120, 32, 32, 1)
    assert set(np.unique(arrays["labels"])) == {0, 1}
    is_nucleus = arrays["labels"] == 1
    assert arrays["images"][..., 0][is_nucleus].mean() > 2 * arrays["images"][..., 0][~is_nucleus].mean()
    assert 2 <= attributes["class_share"][1] <= 40


def preset(config, name, **changes):
    """The section `dataset` of a preset, laid over the embedded configuration."""
    section = copy.deepcopy(config["dataset"])
    own = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())["dataset"]
    return section | own | {"split": section["split"] | own["split"]} | changes


@pytest.mark.real_data
def test_6_real_slices_are_prepared_with_their_cells_in_order(prepare, real_data, config):
    section = preset(config, "isbi2012", image_size=512, limit=6)
    arrays, attributes = prepare(real_data / "isbi2012-em", section | {"split": section["split"] | {"test_share": 34}})
    assert [name.decode() for name in arrays["names"]] == [f"slice_{index:02}" for index in range(6)]
    assert arrays["images"].shape == (6, 512, 512, 1)
    assert arrays["instances"].dtype == np.uint16
    assert np.array_equal(arrays["instances"] > 0, arrays["labels"] == 1)
    assert all(100 < objects.max() < 200 for objects in arrays["instances"])
    assert attributes["class_share"].sum() == pytest.approx(100)


@pytest.mark.real_data
def test_30_real_pictures_of_nuclei_are_prepared_with_their_objects(prepare, real_data, config):
    arrays, _ = prepare(real_data / "dsb2018-nuclei", preset(config, "nuclei", image_size=128, limit=30))
    assert arrays["instances"].shape == arrays["labels"].shape == (30, 128, 128)
    assert 15 < np.mean([objects.max() for objects in arrays["instances"]]) < 40
    assert ((arrays["labels"] == 1) <= (arrays["instances"] > 0)).all()
    is_touching = [(labels == 2).any() for labels in arrays["labels"]]
    assert 0.5 < np.mean(is_touching) < 1


# ---- data in which something is amiss although each file is sound ---------------------------------------------------


@pytest.fixture
def own_folder(tmp_path):
    """Write pairs of a folder, ten of them; return the folder."""

    def run(image, mask, kind="masks"):
        for folder in ("images", kind):
            (tmp_path / "own" / folder).mkdir(parents=True, exist_ok=True)
        for index in range(10):
            tifffile.imwrite(tmp_path / f"own/images/{index}.tif", image(index), photometric="minisblack")
            picture = mask(index)
            picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
            picture.save(tmp_path / f"own/{kind}/{index}.png")
        return tmp_path / "own"

    return run


@pytest.fixture
def own_config(dataset_config):
    """The section `dataset` for `own_folder`: grey, labels 0 and 1."""
    classes = [{"name": "background", "labels": [0]}, {"name": "thing", "labels": [1]}]
    split = dataset_config["split"] | {"method": "random", "validation_share": 20, "test_share": 20}
    return dataset_config | {"source": "folder", "colour": "grey", "classes": classes, "split": split}


def noise(index, high=256, dtype=np.uint8):
    return np.random.default_rng(index).integers(0, high, (16, 16)).astype(dtype)


def halves(index):
    return np.repeat(np.array([0, 1], np.uint8), 8 * 16).reshape(16, 16)


def test_images_of_one_grey_are_refused(prepare, own_folder, own_config):
    root = own_folder(lambda index: np.full((16, 16), 90 + index % 2, np.uint8), halves)
    with pytest.raises(InputError, match=r"training images are all but one grey \(standard deviation 0\.\d+ of 255"):
        prepare(root, own_config)


def test_twelve_bits_in_sixteen_without_a_range_are_refused_with_the_range_that_they_have(
    prepare, own_folder, own_config, capfd
):
    root = own_folder(lambda index: noise(index, 4096, np.uint16), halves)
    with pytest.raises(InputError, match=r"of 256 grey levels 99\.8 % .* use 17; the samples run from 3 to 4094 \("):
        prepare(root, own_config)
    arrays, _ = prepare(root, own_config | {"intensity_range": [0, 4095]})
    assert len(np.unique(arrays["images"])) > 200
    prepare(root, own_config | {"intensity_range": [0, 65535]})  # it was asked for: said, not refused
    assert "of 256 grey levels" in capfd.readouterr().err


def test_eight_bits_may_use_two_greys(prepare, own_folder, own_config):
    prepare(own_folder(lambda index: 90 + noise(index) // 128 * np.uint8(20), halves), own_config)


def in_palette(labels, colours):
    picture = Image.fromarray(labels)
    picture.putpalette(bytes(np.array(colours, np.uint8).reshape(-1)))
    return picture


def test_a_label_whose_colour_differs_between_palettes_is_refused_by_both_files(prepare, own_folder, own_config):
    black, red = (0, 0, 0), (200, 0, 0)
    root = own_folder(noise, lambda i: in_palette(halves(i), [black, red] if i != 7 else [red, black]))
    with pytest.raises(InputError, match=r"png: its palette gives the label 0 the colour .* of .*\.png .*one palette"):
        prepare(root, own_config)
    root = own_folder(noise, lambda i: in_palette(halves(i), [black, red] if i != 7 else [black, red, black]))
    prepare(root, own_config)


def test_masks_are_no_label_pictures_of_objects(prepare, own_folder, own_config):
    mask = np.zeros((16, 16), np.uint8)
    mask[2:5, 2:5] = mask[9:12, 9:12] = 255
    classes = [{"name": n, "labels": [i], "share": [0, 100]} for i, n in enumerate(("background", "thing", "border"))]
    section = own_config | {"source": "instances", "classes": classes}
    section["instances"] = {"components_of": None, "border": 1}
    with pytest.raises(InputError, match=r"dataset\.instances: .*these are masks.*folder and instances\.components_of"):
        prepare(own_folder(noise, lambda index: mask, "instances"), section)
    one = mask * (np.arange(16) < 7)[:, None].astype(np.uint8)
    prepare(own_folder(noise, lambda index: one, "instances"), section)


def test_an_image_is_turned_as_viewers_show_it_and_lies_under_its_mask(prepare, own_folder, own_config):
    masks = np.zeros((10, 16, 16), np.uint8)
    for index, mask in enumerate(masks):
        mask[index % 5 : index % 5 + 4, index // 2 : 9] = 1
    root = own_folder(noise, lambda index: masks[index])
    exif = Image.Exif()
    exif[274] = 3
    for index in range(10):
        (root / f"images/{index}.tif").unlink()
        upside_down = np.rot90(20 + 140 * masks[index] + noise(index, 80), 2)
        Image.fromarray(upside_down).save(root / f"images/{index}.jpg", exif=exif, quality=95)
    arrays, _ = prepare(root, own_config)
    is_thing = arrays["labels"] == 1
    assert arrays["images"][..., 0][is_thing].mean() > 190
    assert arrays["images"][..., 0][~is_thing].mean() < 70


def test_a_picture_that_nothing_converts_is_left_out_like_any_other(prepare, own_folder, own_config):
    root = own_folder(noise, halves)
    colours = np.stack([noise(i) for i in range(3)], axis=-1)
    tifffile.imwrite(root / "images/3.tif", colours, photometric="cielab")
    alpha = np.stack([noise(0), noise(1)], axis=-1)
    tifffile.imwrite(root / "images/5.tif", alpha, photometric="minisblack", extrasamples=["assocalpha"])
    with pytest.raises(InputError, match=r"2 pairs cannot be used:\n  .*\.tif: .*\n  .*\.tif: "):
        prepare(root, own_config)
    arrays, _ = prepare(root, own_config | {"on_error": "skip"})
    assert (len(arrays["images"]), len(arrays["left_out"])) == (8, 2)


def test_rows_in_bands_are_resized_as_at_once(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (61, 47, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for side in (16, 80):
        expected = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
        for most in (47 * 7, 1):
            monkeypatch.setattr("spatial_reduction.data.picture_file.BAND_PIXELS", most)
            shown = ShownPicture(tmp_path / "a.png", None, "rgb", None)
            assert np.array_equal(shown.resized(side), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_blocks_of_a_turned_picture_are_those_of_the_whole(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    shown = ShownPicture(tmp_path / "a.png", None, "rgb", None)
    assert shown.size == expected.shape[:2]
    assert np.array_equal(shown.block(), expected)
    assert np.array_equal(shown.block(slice(3, 9), slice(5, 18)), expected[3:9, 5:18])
    shown.move_to_disk(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert shown.size == expected.shape[:2]
    assert np.array_equal(shown.block(), expected)
    assert np.array_equal(shown.block(slice(3, 9), slice(5, 18)), expected[3:9, 5:18])
