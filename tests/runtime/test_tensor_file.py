from contextlib import suppress

import pytest
import torch

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.tensor_file import load_tensors, save_tensors

TENSORS = {"b": torch.tensor([[1.5, -2.0]]), "a": torch.arange(3), "empty": torch.zeros(0), "scalar": torch.tensor(7.0)}


def test_tensors_and_their_description_survive(tmp_path):
    save_tensors(tmp_path / "t", TENSORS, {"x": [1, {"y": None}]})
    tensors, description = load_tensors(tmp_path / "t")
    assert description == {"x": [1, {"y": None}]}
    assert set(tensors) == set(TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_equal_tensors_are_equal_bytes_in_any_order(tmp_path):
    save_tensors(tmp_path / "t", TENSORS, {"x": 1})
    save_tensors(tmp_path / "u", dict(reversed(TENSORS.items())), {"x": 1})
    assert (tmp_path / "t").read_bytes() == (tmp_path / "u").read_bytes()


def test_every_flipped_bit_is_told(tmp_path):
    save_tensors(tmp_path / "t", TENSORS, {"x": 1})
    good = (tmp_path / "t").read_bytes()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1
        (tmp_path / "t").write_bytes(bad)
        with suppress(InputError):  # silent only where the flip is in white space of the header
            tensors, description = load_tensors(tmp_path / "t")
            assert description == {"x": 1}
            assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "t")
    with pytest.raises(InputError, match="t: not a file of tensors"):
        load_tensors(tmp_path / "t")
