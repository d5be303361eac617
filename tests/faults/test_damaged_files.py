"""Files damaged at random, or well formed and wrong: refused in one line that names them, or read unchanged."""

import contextlib
import io
import json
import random
import shutil
import struct

import h5py
import numpy as np
import pytest
import torch

from spatial_reduction.analysis.counts_file import read_counts, recorded_machines
from spatial_reduction.data.dataset_file import Dataset, describe
from spatial_reduction.masks.mask_file import open_mask, write_mask
from spatial_reduction.masks.ranking import Schedule
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.masks.shrink import shrink_masks
from spatial_reduction.networks.model_file import build_model, load_model, save_model
from spatial_reduction.runtime.checksum_footer import MAGIC, append_checksum, has_wrong_checksum
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5
from spatial_reduction.runtime.tensor_file import save_tensors
from spatial_reduction.training.checkpoint import Progress, load_checkpoint, save_checkpoint

TRIES = 300  # of each kind of file; the same in every run
SMALL = {"name": "unet", "widths": [2, 4]}


def read_dataset(path):
    data = Dataset.open(path)
    arrays = [part for split in ("train", "validation", "test") for block in data.blocks(split) for part in block[1:]]
    names = [data.names(split) for split in ("train", "validation", "test")]
    facts = (
        data.classes,
        data.mean,
        data.std,
        data.digest,
        {split: rows.tolist() for split, rows in data.rows.items()},
        names,
        describe(path),
    )
    return repr(facts), [array.tobytes() for array in arrays]


def read_mask(path):
    with open_mask(path, 10, (16, 16)) as mask:
        return mask.read().tobytes(), repr(sorted((key, str(value)) for key, value in mask.attributes.items()))


def read_scores(path):
    with open_scores(path, 10, (16, 16)) as scores:
        return scores[:].tobytes()


def read_all_counts(path):
    counts, classes = read_counts(path)
    return {name: values.tobytes() for name, values in counts.items()}, classes, recorded_machines([path])


def read_model(path):
    return [(name, weights.tolist()) for name, weights in load_model(path).state_dict().items()]


def read_checkpoint(path):
    """None where a damaged one is not used, which the log says."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        found = load_checkpoint(path, "a training")
    if found is None:
        raise InputError(said.getvalue().rstrip("\n"))
    return repr(found[0]), {part: {name: t.tolist() for name, t in group.items()} for part, group in found[1].items()}


READERS = {
    "dataset": read_dataset,
    "mask": read_mask,
    "scores": read_scores,
    "counts": read_all_counts,
    "model": read_model,
    "checkpoint": read_checkpoint,
}


@pytest.fixture(scope="module")
def files(dataset_path, tmp_path_factory):
    """One good file of each kind; not to be changed."""
    folder = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(0)
    shutil.copy(dataset_path, folder / "dataset")
    write_mask(folder / "mask", iter([rng.random((10, 16, 16)) < 0.5]), (16, 16), {"iteration": 2, "schedule": "x"})
    with create_hdf5(folder / "scores", "saliency") as file:
        values = rng.random((10, 16, 16), dtype=np.float32)
        file.create_dataset("scores", data=values, chunks=(1, 16, 16), fletcher32=True)
    with create_hdf5(folder / "counts", "counts") as file:
        file.attrs["classes"], file.attrs["device"], file.attrs["software"] = ["a", "b"], "cpu", ["torch 9"]
        for protocol in ("intact", "self_masked"):
            confusion = rng.integers(0, 50, (1, 12, 2, 2))
            file.create_dataset(f"{protocol}/test/confusion", data=confusion, chunks=(1, 12, 2, 2), fletcher32=True)
    model = build_model(3, 3, SMALL, seed=1)
    save_model(folder / "model", model)
    progress = Progress(2, 0.1, {"best": 1.0, "waited": 1}, 0.5, [{"epoch": 1, "train_loss": 0.25}])
    save_checkpoint(folder / "checkpoint", "a training", progress, {"model": model.state_dict()})
    return folder


def mutated(content, rng):
    """The bytes with some bits flipped, cut, zeroed, overwritten or with others in between."""
    changed, place, length = bytearray(content), rng.randrange(len(content)), rng.choice([1, 8, 64, 512])
    end = min(place + length, len(content))
    kind = rng.choice(["flip", "flip", "flip", "cut", "zero", "overwrite", "insert"])
    if kind == "flip":
        for _ in range(rng.choice([1, 1, 4, 16])):
            changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del changed[place:]
    elif kind == "insert":
        changed[place:place] = rng.randbytes(length)
    else:
        changed[place:end] = bytes(end - place) if kind == "zero" else rng.randbytes(end - place)
    return bytes(changed)


@pytest.mark.parametrize("kind", READERS)
def test_a_file_damaged_at_random_is_refused_in_one_line_or_read_unchanged(files, tmp_path, kind):
    read, path, good = READERS[kind], tmp_path / "damaged", READERS[kind](files / kind)
    content, refusals = (files / kind).read_bytes(), []
    for seed in range(TRIES):
        path.write_bytes(mutated(content, random.Random(seed)))
        try:
            assert read(path) == good, f"seed {seed}"
        except InputError as refusal:
            refusals.append(str(refusal))
    assert [line for line in refusals if str(path) not in line or "\n" in line] == []
    assert len(refusals) > TRIES / 2  # the others are as they were where it matters


def test_every_flipped_bit_outside_of_an_array_is_told_before_hdf5_reads_the_file(files, tmp_path):
    content, path = (files / "mask").read_bytes(), tmp_path / "mask"
    for place in range(0, len(content) - len(MAGIC), 61):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        if not has_wrong_checksum(path):
            with pytest.raises(InputError, match="a checksum differs"):
                read_mask(path)


def test_a_seal_is_as_good_after_the_file_was_read_and_changed_again(files, tmp_path):
    path = tmp_path / "mask"
    shutil.copy(files / "mask", path)
    assert not has_wrong_checksum(path)
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    assert has_wrong_checksum(path)


def test_what_hdf5_itself_changes_has_no_seal_until_it_is_sealed_again(files, tmp_path):
    path = tmp_path / "mask"
    shutil.copy(files / "mask", path)
    with h5py.File(path, "a") as file:
        file.attrs["iteration"] = 3
    assert MAGIC not in path.read_bytes()
    assert not has_wrong_checksum(path)
    append_checksum(path)
    assert path.read_bytes().endswith(MAGIC)
    assert not has_wrong_checksum(path)


# ---- well formed, and wrong ----------------------------------------------------------------------------------------


def replaced(file, name, values):
    del file[name]
    file[name] = values


def at(name, change):
    """A change of one array."""
    return lambda file: replaced(file, name, change(file[name][()]))


def overwrite(name, index, value):
    def change(values):
        values[index] = value
        return values

    return at(name, change)


WRONG = {
    "dataset": {
        "no images": lambda file: file.__delitem__("images"),
        "a group for labels": lambda file: (file.__delitem__("labels"), file.create_group("labels")),
        "float images": at("images", lambda values: values.astype(np.float32)),
        "labels of 16 bits": at("labels", lambda values: values.astype(np.uint16)),
        "images of three dimensions": at("images", lambda values: values[..., 0]),
        "fewer labels": at("labels", lambda values: values[:5]),
        "a label beyond the classes": overwrite("labels", (3, 2, 1), 7),
        "no class names": lambda file: file.attrs.__delitem__("classes"),
        "no mean": lambda file: file.attrs.__delitem__("channel_mean"),
        "a mean that is not finite": lambda file: file.attrs.__setitem__("channel_mean", [0.5, np.nan, 0.5]),
        "a mean of other channels": lambda file: file.attrs.__setitem__("channel_mean", [0.5]),
        "a mean in words": lambda file: file.attrs.__setitem__("channel_mean", ["a", "b", "c"]),
        "no split": lambda file: file.__delitem__("split/test"),
        "an empty split": at("split/test", lambda values: values[:0]),
        "test images that train": at("split/test", lambda values: np.arange(10)),
        "more images than there are": at("split/test", lambda values: np.arange(12, 99)),
        "fewer names": at("names", lambda values: values[:3]),
        "names that are numbers": at("names", lambda values: np.arange(24)),
        "instances of 8 bits": lambda file: file.__setitem__("instances", np.zeros((24, 16, 16), np.uint8)),
        "a link to another file": lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
    },
    "mask": {
        "no masks": lambda file: file.__delitem__("kept"),
        "masks of floats": at("kept", lambda values: values.astype(np.float64)),
        "masks of fewer pixels": at("kept", lambda values: values[:, :5]),
        "masks of fewer images": at("kept", lambda values: values[:5]),
        "one mask": at("kept", lambda values: values[0]),
        "no shape": lambda file: file.attrs.__delitem__("image_shape"),
        "another shape": lambda file: file.attrs.__setitem__("image_shape", (8, 32)),
        "a shape in words": lambda file: file.attrs.__setitem__("image_shape", "square"),
        "a soft link": lambda file: file.__setitem__("x", h5py.SoftLink("/elsewhere")),
    },
    "scores": {
        "no scores": lambda file: file.__delitem__("scores"),
        "doubles": at("scores", lambda values: values.astype(np.float64)),
        "scores of fewer pixels": at("scores", lambda values: values[..., :5]),
        "a group": lambda file: (file.__delitem__("scores"), file.create_group("scores")),
    },
    "counts": {
        "no intact images": lambda file: file.__delitem__("intact"),
        "other classes": lambda file: file.attrs.__setitem__("classes", ["a", "b", "c"]),
        "no classes": lambda file: file.attrs.__delitem__("classes"),
        "no device": lambda file: file.attrs.__delitem__("device"),
        "counts that are not finite": at("intact/test/confusion", lambda values: values * np.nan),
        "fewer images under a protocol": at("self_masked/test/confusion", lambda values: values[:, :5]),
        "no model": at("intact/test/confusion", lambda values: values[:0]),
        "an array for a protocol": lambda file: replaced(file, "self_masked", np.zeros(3)),
    },
}


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for kind, changes in WRONG.items() for what in changes])
def test_a_file_of_other_contents_is_refused_in_one_line(files, tmp_path, kind, what):
    path = tmp_path / "wrong.h5"
    shutil.copy(files / kind, path)
    with h5py.File(path, "a") as file:
        WRONG[kind][what](file)
    append_checksum(path)
    with pytest.raises(InputError) as refusal:
        READERS[kind](path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


@pytest.fixture
def shrink(files, tmp_path):
    """Shrink masks by changed copies of the files."""

    def run(**changes):
        paths = {name: shutil.copy(files / name, tmp_path / name) for name in ("dataset", "mask", "scores", "model")}
        with h5py.File(paths["mask"], "a") as file:
            replaced(file, "kept", np.full((10, 32), 255, np.uint8))
        for name, change in changes.items():
            with h5py.File(paths[name], "a") as file:
                change(file)
        whats = {"schedule": Schedule("compounding", 0, "50"), "iteration": 2}
        places = {"dataset": paths["dataset"], "saliency": paths["scores"], "parent": paths["mask"]}
        places |= {"model": paths["model"], "output": tmp_path / "next.h5", "table": tmp_path / "next.csv"}
        shrink_masks(**places, **whats)
        with open_mask(tmp_path / "next.h5", 10, (16, 16)) as mask:
            return mask.read()

    return run


def test_a_score_that_is_not_a_number_is_refused_and_names_the_file(shrink, tmp_path):
    with pytest.raises(InputError, match=r"scores: saliency holds a score that is not a number"):
        shrink(scores=overwrite("scores", (3, 2, 1), np.nan))
    assert not (tmp_path / "next.h5").exists()


def test_infinite_scores_are_ranked_and_the_count_stays_exact(shrink):
    def change(values):
        values[3, 2, 1], values[5] = np.inf, -np.inf
        return values

    kept = shrink(scores=at("scores", change))
    assert (kept.sum(axis=(1, 2)) == 128).all()
    assert kept[3, 2, 1]


def test_a_mask_that_keeps_more_of_one_image_is_refused_and_names_the_file(shrink, tmp_path):
    with pytest.raises(InputError, match=r"mask: cannot keep 128 of \[248, 256\] pixels in each image"):
        shrink(mask=overwrite("kept", (4, 0), 0))
    assert not (tmp_path / "next.h5").exists()


# ---- weights -------------------------------------------------------------------------------------------------------


class Evil:
    """An object whose unpickling would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("is_zipped", [True, False], ids=["zip", "plain"])
@pytest.mark.parametrize("kind", ["model", "checkpoint"])
def test_a_pickle_where_weights_are_expected_is_refused_and_nothing_of_it_runs(tmp_path, kind, is_zipped):
    path, made = tmp_path / kind, tmp_path / "made"
    torch.save({"weights": Evil(made)}, path, _use_new_zipfile_serialization=is_zipped)
    with pytest.raises(InputError, match="not a file of tensors of this workflow"):
        READERS[kind](path)
    assert not made.exists()
    with contextlib.suppress(TypeError):  # so that the test can fail: unpickled, it does make the file
        torch.load(path, weights_only=False)["weights"].close()
    assert made.exists()


def crafted(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


TENSOR = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}
CRAFTED = {
    "a header of 8 exabytes": struct.pack("<Q", 2**63 - 1) + b"{}",
    "no header": struct.pack("<Q", 0),
    "a deep header": crafted(b'{"a":' * 100_000),
    "a deep description": crafted({"__metadata__": {"description": "[" * 200_000}}),
    "a list for a description": crafted({"__metadata__": {"description": "[1]"}}),
    "a tensor of 4 exabytes": crafted({"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}}),
    "a tensor of negative size": crafted({"a": TENSOR | {"shape": [-4]}}, b"abcd"),
    "tensors that overlap": crafted({"a": TENSOR, "b": TENSOR}, b"abcd"),
    "a tensor without description": crafted({"a": TENSOR}, b"abcd"),
}


@pytest.mark.parametrize("content", CRAFTED.values(), ids=CRAFTED)
@pytest.mark.parametrize("kind", ["model", "checkpoint"])
def test_a_crafted_file_of_tensors_is_refused_in_one_line(tmp_path, kind, content):
    path = tmp_path / "crafted"
    path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        READERS[kind](path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


ARCHITECTURES = [None, [], "unet", {}, {"name": "../unet"}, {"name": ["unet"]}, {"name": "unet"}]
WIDTHS = [None, [], [2], [2, 8], [20_000, 40_000], [2**40, 4], [-2, 4], [2.5, 4], ["a", "b"], "ab", {"a": 1}]
ARCHITECTURES += [{**SMALL, "in_channels": 3, "classes": 3, "widths": widths} for widths in WIDTHS]
ARCHITECTURES += [{**SMALL, "in_channels": 3, "classes": 3, "evil": 1}, {**SMALL, "in_channels": 10**9, "classes": 3}]
ARCHITECTURES.append({"name": "sliding_window", "in_channels": 3, "classes": 3, "widths": [3, 4], "window": 10**9 + 1})


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_weights_of_another_architecture_than_they_say_are_refused_without_building_it(tmp_path, architecture):
    weights = build_model(3, 3, SMALL, seed=1).state_dict()
    save_tensors(tmp_path / "m", weights, {"schema_version": 1, "architecture": architecture})
    with pytest.raises(InputError, match="m: not a model of this workflow") as refusal:
        load_model(tmp_path / "m")
    assert "\n" not in str(refusal.value)
