import copy

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from experiments import ROOT
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.decode import decode_pair
from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.data.splits import split_pairs
from spatial_reduction.runtime.errors import InputError

SLICES = np.random.default_rng(0).integers(0, 256, (12, 5, 7), dtype=np.uint8)
LABELS = np.where(SLICES > 99, 255, 0).astype(np.uint8)


def write_slices(root, suffix="png"):
    for folder, pictures in {"image": SLICES, "label": LABELS}.items():
        (root / "train" / folder).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(root / "train" / folder / f"{number}.{suffix}")


def write_stacks(root, labels=LABELS, **options):
    tifffile.imwrite(root / "train-volume.tif", SLICES, **options)
    tifffile.imwrite(root / "train-labels.tif", labels, **options)


def write_sequence(root, sequence, frames=(0, 1, 2), labelled=(0, 2), truth="GT"):
    (root / sequence).mkdir()
    (root / f"{sequence}_{truth}" / "SEG").mkdir(parents=True)
    for frame in frames:
        tifffile.imwrite(root / sequence / f"t{frame:03}.tif", np.full((4, 6), 10 * frame, dtype=np.uint8))
    for frame in labelled:
        path = root / f"{sequence}_{truth}" / "SEG" / f"man_seg{frame:03}.tif"
        tifffile.imwrite(path, np.full((4, 6), 300 + frame, dtype=np.uint16))


def decode_all(source, root):
    return [decode_pair(pair, 7, "grey", {0: 0, 255: 1}, None)[:2] for pair in list_pairs(source, root, None)]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}], ids=["plain", "zlib", "imagej"])
def test_a_stack_and_its_slices_as_files_are_the_same_pairs(tmp_path, options):
    for folder, write in (("files", write_slices), ("stacks", lambda root: write_stacks(root, **options))):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder)
    files, stacks = (list_pairs("isbi2012", tmp_path / folder, None) for folder in ("files", "stacks"))
    assert [pair.name for pair in files] == [pair.name for pair in stacks] == [f"slice_{i:02}" for i in range(12)]
    for first, second in zip(
        decode_all("isbi2012", tmp_path / "files"), decode_all("isbi2012", tmp_path / "stacks"), strict=True
    ):
        assert all(np.array_equal(*arrays) for arrays in zip(first, second, strict=True))


def test_slices_are_in_the_order_of_their_numbers_not_of_their_letters(tmp_path):
    write_slices(tmp_path)
    pairs = list_pairs("isbi2012", tmp_path, None)
    assert [pair.image.stem for pair in pairs] == [str(number) for number in range(12)]
    assert [pair.labels.stem for pair in pairs] == [str(number) for number in range(12)]


def test_slices_of_one_stack_have_digests_of_their_own(tmp_path):
    write_stacks(tmp_path)
    pairs = list_pairs("isbi2012", tmp_path, None)
    assert len({decode_pair(pair, 7, "grey", {0: 0, 255: 1}, None)[2] for pair in pairs}) == 12


def test_stacks_of_unequal_length_are_refused(tmp_path):
    write_stacks(tmp_path, labels=LABELS[:11])
    with pytest.raises(InputError, match=r"train-volume\.tif holds 12 slices, train-labels\.tif 11"):
        list_pairs("isbi2012", tmp_path, None)


def test_a_stack_without_labels_and_a_file_without_number_are_refused_by_name(tmp_path):
    write_stacks(tmp_path)
    (tmp_path / "train-labels.tif").unlink()
    with pytest.raises(InputError, match=r"train-labels\.tif: No such file"):
        list_pairs("isbi2012", tmp_path, None)
    (tmp_path / "train-volume.tif").unlink()
    write_slices(tmp_path)
    for folder in ("image", "label"):
        (tmp_path / "train" / folder / "0.png").rename(tmp_path / "train" / folder / "first.png")
    with pytest.raises(InputError, match=r"named by the number of their slice, not \['first'\]"):
        list_pairs("isbi2012", tmp_path, None)


def test_two_files_of_one_number_are_refused(tmp_path):
    write_slices(tmp_path)
    for folder in ("image", "label"):
        (tmp_path / "train" / folder / "01.png").write_bytes((tmp_path / "train" / folder / "1.png").read_bytes())
    with pytest.raises(InputError, match=r"train/image: two files have the same number; there are \['0', '01', '1',"):
        list_pairs("isbi2012", tmp_path, None)
    write_sequence(tmp_path, "01", frames=[0], labelled=[0])
    (tmp_path / "01" / "t0000.tif").write_bytes((tmp_path / "01" / "t000.tif").read_bytes())
    with pytest.raises(
        InputError, match=r"01: two files have the same number; there are \['t000\.tif', 't0000\.tif'\]"
    ):
        list_pairs("cell_tracking", tmp_path, None)


def test_a_cut_stack_is_refused_with_its_slice(tmp_path):
    write_stacks(tmp_path, compression="zlib")
    pairs = list_pairs("isbi2012", tmp_path, None)
    content = (tmp_path / "train-volume.tif").read_bytes()
    (tmp_path / "train-volume.tif").write_bytes(content[:400])
    with pytest.raises(InputError, match=r"train-volume\.tif: slice 11 cannot be decoded") as refusal:
        decode_pair(pairs[11], 7, "grey", {0: 0, 255: 1}, None)
    assert "\n" not in str(refusal.value)


def test_the_last_slices_test_and_those_before_them_validate(tmp_path):
    write_stacks(tmp_path)
    pairs = list_pairs("isbi2012", tmp_path, None)
    split = {"method": "ordered", "validation_share": 17, "test_share": 25}
    parts = split_pairs(pairs, split)  # 2.04 and 3 of 12
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [7, 2, 3]
    assert parts["train"] + parts["validation"] + parts["test"] == pairs
    with pytest.raises(InputError, match="the train split of 12 images is empty"):
        split_pairs(pairs, split | {"test_share": 90})


def test_labelled_frames_of_both_sequences_are_pairs_and_the_others_are_not(tmp_path):
    write_sequence(tmp_path, "01")
    write_sequence(tmp_path, "02", labelled=(1,), truth="ST")
    pairs = list_pairs("cell_tracking", tmp_path, None)
    assert [(pair.name, pair.labels.name, pair.group, pair.official) for pair in pairs] == [
        ("01_t000", "man_seg000.tif", "01", "trainval"),
        ("01_t002", "man_seg002.tif", "01", "trainval"),
        ("02_t001", "man_seg001.tif", "02", "test"),
    ]


def test_a_preset_prepares_frames_of_16_bits_that_are_not_square(tmp_path, config):
    for sequence in ("01", "02"):
        write_sequence(tmp_path, sequence, labelled=(0, 1, 2))
    labels = np.repeat(np.array([[7, 7, 7, 300, 300, 0]], dtype=np.uint16), 4, axis=0)
    tifffile.imwrite(tmp_path / "01_GT" / "SEG" / "man_seg001.tif", labels)
    tifffile.imwrite(tmp_path / "01" / "t001.tif", np.repeat(np.arange(6, dtype=np.uint16)[None] * 10000, 4, axis=0))
    section, own = copy.deepcopy(config["dataset"]), yaml.safe_load((ROOT / "config/cell_tracking.yaml").read_text())
    section |= own["dataset"] | {"image_size": 12, "split": section["split"] | own["dataset"]["split"]}
    section["split"]["validation_share"] = 34
    section["classes"] = [entry | {"share": [0, 100]} for entry in section["classes"]]
    prepare_dataset(tmp_path, tmp_path / "dataset.h5", section, threads=1)
    data = Dataset.open(tmp_path / "dataset.h5")
    assert data.names("test") == ["02_t000", "02_t001", "02_t002"]
    split, position = next(
        (split, data.names(split).index("01_t001"))
        for split in ("train", "validation")
        if "01_t001" in data.names(split)
    )
    images, classes = data.pick(split, [position])
    assert data.instances(split, slice(position, position + 1))[0, 0].tolist() == [1] * 6 + [2] * 4 + [0] * 2
    assert classes[0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 0, 0]  # two pixels on either side
    assert images[0, :, [0, -1], 0].tolist() == [[0] * 12, [195] * 12]  # 50000 of 65535


def test_gold_truth_comes_before_silver_truth(tmp_path):
    write_sequence(tmp_path, "01")
    silver = tmp_path / "01_ST" / "SEG"
    silver.mkdir(parents=True)
    tifffile.imwrite(silver / "man_seg001.tif", np.zeros((4, 6), dtype=np.uint16))
    assert [pair.name for pair in list_pairs("cell_tracking", tmp_path, None)] == ["01_t000", "01_t002"]


def test_a_label_picture_without_frame_is_refused_by_name(tmp_path):
    write_sequence(tmp_path, "01", frames=(0,))
    with pytest.raises(InputError, match=r"SEG: 1 label pictures have no frame in 01/: \['man_seg002\.tif'\]"):
        list_pairs("cell_tracking", tmp_path, None)


def test_volumes_and_folders_without_sequences_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.root must hold 01/"):
        list_pairs("cell_tracking", tmp_path, None)
    write_sequence(tmp_path, "01")
    (tmp_path / "01_GT" / "SEG" / "man_seg_000_012.tif").touch()
    with pytest.raises(InputError, match=r"man_seg_000_012\.tif labels one slice of a volume"):
        list_pairs("cell_tracking", tmp_path, None)


def test_instance_pictures_are_paired_by_stem(tmp_path):
    for folder in ("images", "instances"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    (pair,) = list_pairs("instances", tmp_path, None)
    assert (pair.image.parent.name, pair.labels.parent.name) == ("images", "instances")
    (tmp_path / "instances" / "b.png").touch()
    with pytest.raises(InputError, match=r"images/ lacks b\.\*, whose counterparts are in instances/$"):
        list_pairs("instances", tmp_path, None)


def test_frames_and_labels_of_any_case_and_suffix_are_pairs(tmp_path):
    write_sequence(tmp_path, "01", labelled=(0, 1, 2))
    folder = tmp_path / "01_GT" / "SEG"
    (folder / "man_seg000.tif").rename(folder / "man_seg000.TIF")
    (folder / "man_seg001.tif").rename(folder / "MAN_SEG001.TIFF")
    (tmp_path / "01" / "t002.tif").unlink()
    Image.fromarray(np.full((4, 6), 20, np.uint8)).save(tmp_path / "01" / "t002.bmp")
    pairs = list_pairs("cell_tracking", tmp_path, None)
    assert [pair.name for pair in pairs] == ["01_t000", "01_t001", "01_t002"]


def test_an_empty_folder_of_gold_truth_hides_no_silver_truth_and_a_key_chooses(tmp_path):
    write_sequence(tmp_path, "01", labelled=())
    silver = tmp_path / "01_ST" / "SEG"
    silver.mkdir(parents=True)
    tifffile.imwrite(silver / "man_seg001.tif", np.zeros((4, 6), dtype=np.uint16))
    assert [pair.name for pair in list_pairs("cell_tracking", tmp_path, None)] == ["01_t001"]
    tifffile.imwrite(tmp_path / "01_GT" / "SEG" / "man_seg002.tif", np.zeros((4, 6), dtype=np.uint16))
    found = {truth: list_pairs("cell_tracking", tmp_path, None, truth) for truth in (None, "gold", "silver")}
    assert {truth: pairs[0].name for truth, pairs in found.items()} == {
        None: "01_t002",
        "gold": "01_t002",
        "silver": "01_t001",
    }
