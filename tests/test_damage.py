"""Files cut short or with one wrong byte, at every place: each is told in one line that names it, or does no harm."""

import shutil

import h5py
import numpy as np
import pytest

from spatial_reduction.checkpoint import Progress, load_checkpoint, save_checkpoint
from spatial_reduction.errors import InputError
from spatial_reduction.model import build_model, load_model, save_model
from spatial_reduction.saliency.scores import compute_saliency
from spatial_reduction.sealing import SEAL_BYTES, seal
from spatial_reduction.shrinking import write_intact_mask
from spatial_reduction.storage import create_hdf5, open_hdf5

UNET = {"name": "unet", "widths": [2, 4]}


def contents(path, kind):
    """All values and attributes of an HDF5 file, as bytes and text."""
    found = {}

    def visit(name, item):
        found[name] = [repr((key, np.asarray(value).tolist())) for key, value in item.attrs.items()]
        if isinstance(item, h5py.Dataset):
            found[name] += [item.shape, item.dtype, repr(item[()].tolist())]

    with open_hdf5(path, kind) as file:
        visit("/", file)
        file.visititems(visit)
    return found


@pytest.fixture(scope="module")
def files(dataset_path, tmp_path_factory):
    """{kind: file}; not to be changed."""
    folder = tmp_path_factory.mktemp("damage")
    network = build_model(3, 3, UNET, seed=1)
    save_model(folder / "model.safetensors", network)
    save_checkpoint(
        folder / "checkpoint",
        "identity",
        Progress(2, 0.125, {"best": 0.5, "waited": 1}),
        {"model": network.state_dict()},
    )
    write_intact_mask(dataset_path, folder / "mask.h5")
    settings = {"source": "probability", "saliency_images": "intact", "fill": "black", "classes_of_interest": ["pet"]}
    inputs = {"dataset": dataset_path, "model": folder / "model.safetensors", "mask": folder / "mask.h5"}
    compute_saliency(**inputs, output=folder / "saliency.h5", **settings, device="cpu", seed=1, iteration=2, threads=1)
    with create_hdf5(folder / "counts.h5", "counts") as file:
        file.attrs["classes"] = ["pet", "background"]
        file.create_dataset(
            "T1/test/confusion", data=np.arange(40).reshape(10, 2, 2), chunks=(1, 2, 2), fletcher32=True
        )
    names = ("mask", "saliency", "counts")
    return (
        {"dataset": dataset_path}
        | {name: folder / f"{name}.h5" for name in names}
        | {"model": folder / "model.safetensors", "checkpoint": folder / "checkpoint"}
    )


def damaged(content, flips, cuts):
    """The bytes of a file with one bit flipped at evenly spaced places, and cut at others."""
    for place in np.linspace(0, len(content) - 1, flips).astype(int):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        yield changed
    for length in np.linspace(0, len(content) - 1, cuts).astype(int):
        yield content[:length]


def refused(read, path):
    """Whether a reader refuses a file in one line that names it and says what to do."""
    try:
        read(path)
    except InputError as error:
        line = str(error)
        assert line.startswith(f"{path}: ")
        assert line.endswith("; delete it and run again")
        assert "\n" not in line
        return True
    return False


@pytest.mark.parametrize("kind", ["dataset", "mask", "saliency", "counts"])
def test_a_damaged_hdf5_file_is_refused_or_says_the_same(files, tmp_path, kind):
    expected, copy = contents(files[kind], kind), tmp_path / "copy.h5"
    for content in damaged(files[kind].read_bytes(), flips=600, cuts=50):
        copy.write_bytes(content)
        assert refused(lambda path: contents(path, kind), copy) or contents(copy, kind) == expected


def test_of_damaged_hdf5_files_only_those_with_a_changed_seal_are_read(files, tmp_path):
    content, copy = files["mask"].read_bytes(), tmp_path / "copy.h5"
    accepted = []
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 16
        copy.write_bytes(changed)
        if not refused(lambda path: contents(path, "mask"), copy):
            accepted.append(place)
    assert max(accepted) < SEAL_BYTES


def weights_of(path):
    network = load_model(path)
    return network.architecture, {name: tensor.tolist() for name, tensor in network.state_dict().items()}


def test_a_damaged_model_is_refused(files, tmp_path):
    expected, copy = weights_of(files["model"]), tmp_path / "model.safetensors"
    for content in damaged(files["model"].read_bytes(), flips=1500, cuts=50):
        copy.write_bytes(content)
        assert refused(load_model, copy) or weights_of(copy) == expected


def test_a_training_with_a_damaged_checkpoint_begins_anew(files, tmp_path, capsys):
    progress, parts = load_checkpoint(files["checkpoint"], "identity")
    copy = tmp_path / "checkpoint"
    for content in damaged(files["checkpoint"].read_bytes(), flips=1500, cuts=50):
        copy.write_bytes(content)
        capsys.readouterr()
        found = load_checkpoint(copy, "identity")
        if found is None:
            assert capsys.readouterr().err.endswith("; training begins at the first epoch\n")
        else:
            assert found[0] == progress
            assert all(np.array_equal(found[1]["model"][name], parts["model"][name]) for name in parts["model"])


def test_a_file_that_was_never_sealed_is_read(files, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["kind"], file.attrs["schema_version"] = "mask", 1
    assert contents(tmp_path / "a.h5", "mask")


def test_a_seal_is_the_crc_of_what_follows_it(files, tmp_path):
    # CRC-32 of the nine digits, the check value of the algorithm: cbf43926.
    path = tmp_path / "a"
    path.write_bytes(bytes(SEAL_BYTES) + b"123456789")
    seal(path)
    assert path.read_bytes() == b"spatial-reduction crc32 cbf43926\n".ljust(SEAL_BYTES, b"\0") + b"123456789"


def test_a_file_that_changed_after_it_was_read_is_compared_again(files, tmp_path):
    copy = shutil.copy(files["mask"], tmp_path / "mask.h5")
    contents(copy, "mask")
    content = bytearray(files["mask"].read_bytes())
    content[-1] ^= 1
    (tmp_path / "mask.h5").write_bytes(content)
    assert refused(lambda path: contents(path, "mask"), copy)
