import numpy as np
import pandas as pd
import pytest

from experiments import edited_hdf5
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.mask_file import open_mask
from spatial_reduction.masks.ranking import Schedule
from spatial_reduction.masks.score_pixels import Scoring, compute_saliency
from spatial_reduction.masks.shrink import _Tally, shrink_masks, write_intact_mask
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import file_digest

PIXELS = 16 * 16


@pytest.fixture
def chain(dataset_path, tmp_path):
    """Make the masks of iterations 1, 2, ... with random saliency; return their folder and a way to make one more."""
    (tmp_path / "model").write_bytes(b"a model")
    write_intact_mask(dataset_path, tmp_path / "mask_1.h5")

    def shrink(iteration, threshold="50", schedule="compounding", step=0, source="random", **changes):
        parent, scoring = tmp_path / f"mask_{iteration - 1}.h5", Scoring(source, ["pet", "border"], **changes)
        model, saliency, output = tmp_path / "model", tmp_path / "saliency.h5", tmp_path / f"mask_{iteration}.h5"
        machine = Machine("cpu", 1)
        compute_saliency(
            dataset_path, model, parent, saliency, scoring, Removal(), machine, seed=1, iteration=iteration
        )
        places = (dataset_path, saliency, parent, model, output, tmp_path / f"kept_{iteration}.csv")
        shrink_masks(*places, Schedule(schedule, step, threshold), iteration)
        with open_mask(tmp_path / f"mask_{iteration}.h5", 10, (16, 16)) as mask:
            return mask.read(), mask.attributes

    return tmp_path, shrink


def test_compounding_masks_are_nested_and_exact_in_every_image(chain):
    _, shrink = chain
    second, third = shrink(2)[0], shrink(3)[0]
    assert (second.sum(axis=(1, 2)) == PIXELS // 2).all()
    assert (third.sum(axis=(1, 2)) == PIXELS // 4).all()
    assert not (third & ~second).any()


@pytest.mark.parametrize("saliency_images", ["reduced", "intact"])
@pytest.mark.parametrize("source", ["probability", "oracle"])
def test_shuffled_masks_are_the_nested_masks_of_other_images(chain, source, saliency_images):
    # So every statistic of their shapes is that of the true masks, iteration by iteration, for one model.
    folder, shrink = chain
    save_model(folder / "model", build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1))
    settings = {"source": source, "saliency_images": saliency_images}
    plain = [shrink(iteration, **settings)[0] for iteration in (2, 3)]
    shuffled = [shrink(iteration, shuffle=True, **settings)[0] for iteration in (2, 3)]
    carriers = Scoring("random", [], shuffle=True).carriers(10, seed=1)
    for own, carried in zip(plain, shuffled, strict=True):
        assert np.array_equal(carried[carriers], own)
        assert not np.array_equal(carried, own)


def test_additive_masks_are_made_anew_and_may_grow(chain):
    _, shrink = chain
    second, third = shrink(2, "50", "additive", 25)[0], shrink(3, "50", "additive", 25)[0]
    assert (second.sum(axis=(1, 2)) == PIXELS // 2).all()
    assert (third.sum(axis=(1, 2)) == PIXELS * 3 // 4).all()
    assert (third & ~second).any()


def test_a_mask_records_its_share_its_parent_and_its_model(chain, capfd):
    folder, shrink = chain
    _, attributes = shrink(2)
    assert f"{folder / 'mask_2.h5'}: 128 of 256 pixels kept in each of 10 images\n" in capfd.readouterr().err
    with open_mask(folder / "mask_1.h5", 10, (16, 16)) as parent:
        assert attributes["parent_digest"] == parent.attributes["digest"]
    assert attributes["model_digest"] == file_digest(folder / "model")
    assert attributes["kept_share"] == 50
    assert attributes["kept_pixels"] == PIXELS // 2
    assert [attributes[name] for name in ("iteration", "threshold", "schedule")] == [2, "50", "compounding"]


def test_the_table_says_what_is_kept_of_each_class(chain, dataset):
    folder, shrink = chain
    kept = shrink(2, source="oracle")[0]
    labels = dataset.pick("train", range(10))[1]
    table = pd.read_csv(folder / "kept_2.csv").set_index(["measure", "class"])["value"]
    assert table["kept_share", "all"] == pytest.approx(50)
    assert table["overlap_iou", "all"] == pytest.approx(50)
    for index, name in enumerate(dataset.classes):
        assert table["recall", name] == pytest.approx(100 * kept[labels == index].mean())
        assert table["share_of_kept", name] == pytest.approx(100 * (labels[kept] == index).mean())


def test_what_is_kept_by_hand_of_masks_that_are_made_anew_and_of_a_class_that_no_image_has():
    labels = np.array([[[0, 0, 1, 1]], [[0, 1, 1, 1]]], dtype=np.uint8)
    kept = np.array([[[1, 1, 0, 0]], [[0, 1, 0, 1]]], dtype=bool)
    tally = _Tally(("a", "b", "c"))
    tally.add(kept, np.array([[[0, 1, 1, 1]], [[1, 1, 1, 0]]], dtype=bool), labels)
    found = {(row["measure"], row["class"]): row["value"] for row in tally.rows()}
    expected = {("kept_share", "all"): 50, ("overlap_iou", "all"): 25, ("components", "all"): 1.5}
    expected |= {("recall", "a"): 200 / 3, ("recall", "b"): 40, ("recall", "c"): np.nan}
    expected |= {("share_of_kept", "a"): 50, ("share_of_kept", "b"): 50, ("share_of_kept", "c"): 0}
    assert found == pytest.approx(expected, nan_ok=True)


def flooded(mask):
    """Count the 8-connected components of a mask by hand: take a pixel, and all that is reached from it."""
    left, components = set(map(tuple, np.argwhere(mask))), 0
    while left:
        reached, components = [left.pop()], components + 1
        while reached:
            row, column = reached.pop()
            touching = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= touching
            reached += touching
    return components


def test_the_table_says_into_how_many_pieces_the_kept_pixels_fall(chain):
    folder, shrink = chain
    for threshold in ("15", "50"):
        kept = shrink(2, threshold)[0]
        table = pd.read_csv(folder / "kept_2.csv").set_index(["measure", "class"])["value"]
        assert table["components", "all"] == pytest.approx(np.mean([flooded(mask) for mask in kept]))


@pytest.mark.parametrize(
    ("name", "array", "value", "reason"),
    [
        ("saliency.h5", "scores", np.nan, r"saliency holds a score that is not a number"),
        ("mask_1.h5", "kept", 0, r"cannot keep 128 of \[248, 256\] pixels in each image"),
    ],
)
def test_a_step_that_cannot_be_taken_names_the_file_at_fault(chain, dataset_path, name, array, value, reason):
    folder, shrink = chain
    shrink(2)
    with edited_hdf5(folder / name) as file:
        file[array][4, 0] = value  # a row of scores, or eight pixels
    last = (folder / "mask_1.h5", folder / "model", folder / "mask_3.h5", folder / "t.csv")
    with pytest.raises(InputError, match=rf"/{name}: {reason}; delete it and run again$"):
        shrink_masks(dataset_path, folder / "saliency.h5", *last, Schedule("compounding", 0, "50"), 2)


def test_saliency_of_a_damaged_file_leaves_no_mask(chain, dataset_path):
    folder, shrink = chain
    shrink(2)
    (folder / "mask_2.h5").unlink()
    saliency = folder / "saliency.h5"
    saliency.write_bytes(saliency.read_bytes()[: saliency.stat().st_size // 2])
    with pytest.raises(InputError, match=r"saliency\.h5: not a readable HDF5 file"):
        shrink_masks(
            dataset_path, saliency, folder / "mask_1.h5", folder / "model", folder / "mask_2.h5", folder / "t.csv",
            Schedule("compounding", 0, "50"), 2,
        )  # fmt: skip
    assert not list(folder.glob("*mask_2*"))


def test_the_intact_mask_keeps_everything(chain):
    folder, _ = chain
    with open_mask(folder / "mask_1.h5", 10, (16, 16)) as mask:
        assert np.all(mask.read())
        assert mask.attributes["kept_share"] == 100
        assert [mask.attributes[name] for name in ("iteration", "parent_digest", "model_digest")] == [1, "", ""]
