import hashlib
import os

import h5py
import numpy as np
import pandas as pd
import pytest

from spatial_reduction.errors import InputError
from spatial_reduction.storage import create_hdf5, file_digest, open_hdf5, write_table, written_whole


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fail_half_way(path, error):
    with written_whole(path) as partial:
        partial.write_text("half")
        raise error


def fail_half_way_in_hdf5(path):
    with create_hdf5(path, "mask") as file:
        file["values"] = np.arange(5)
        raise InputError


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    with written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        assert not (tmp_path / "a.txt").exists()
        assert partial.parent == tmp_path
    assert files_of(tmp_path) == {"a.txt": b"new"}


def test_a_whole_file_replaces_the_old_one(tmp_path):
    (tmp_path / "a.txt").write_text("old and longer")
    with written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert files_of(tmp_path) == {"a.txt": b"new"}


def test_a_body_that_raises_leaves_the_old_file_and_no_temporary_one(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyError):
        fail_half_way(tmp_path / "a.txt", KeyError)
    assert files_of(tmp_path) == {"a.txt": b"old"}


def test_a_body_that_raises_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fail_half_way(tmp_path / "a.txt", KeyboardInterrupt)
    assert files_of(tmp_path) == {}


def test_missing_folders_are_made(tmp_path):
    with written_whole(tmp_path / "b" / "c" / "a.txt") as partial:
        partial.write_text("new")
    assert (tmp_path / "b" / "c" / "a.txt").read_text() == "new"


def test_an_hdf5_file_is_read_back_as_it_was_written(tmp_path):
    with create_hdf5(tmp_path / "a.h5", "mask") as file:
        file["values"] = np.arange(5)
    with open_hdf5(tmp_path / "a.h5", "mask") as file:
        assert file["values"][:].tolist() == [0, 1, 2, 3, 4]


def test_an_hdf5_body_that_raises_leaves_the_old_file_and_no_temporary_one(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"old")
    with pytest.raises(InputError):
        fail_half_way_in_hdf5(tmp_path / "a.h5")
    assert files_of(tmp_path) == {"a.h5": b"old"}


def test_an_open_hdf5_file_cannot_be_changed(tmp_path):
    with create_hdf5(tmp_path / "a.h5", "mask") as file:
        file["values"] = np.arange(5)
    with open_hdf5(tmp_path / "a.h5", "mask") as file, pytest.raises(OSError, match=r"read-only|no write intent"):
        file["values"][0] = 7


def test_an_exception_of_the_reader_is_not_taken_for_a_damaged_file(tmp_path):
    with create_hdf5(tmp_path / "a.h5", "mask"):
        pass
    with pytest.raises(OSError, match="of the reader"), open_hdf5(tmp_path / "a.h5", "mask"):
        raise OSError("of the reader")


def test_an_hdf5_file_of_another_program_is_refused_in_one_line(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["values"] = np.arange(5)
    expected = r"a\.h5: expected a mask file .* found kind None"
    with pytest.raises(InputError, match=expected) as refusal, open_hdf5(tmp_path / "a.h5", "mask"):
        pass
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("nan", [float("nan"), np.float64("nan"), np.float32("nan")])
def test_a_value_that_is_not_defined_is_an_empty_cell(tmp_path, nan):
    write_table(tmp_path / "a.csv", [{"name": "pet", "value": nan, "count": 3}])
    assert (tmp_path / "a.csv").read_bytes() == b"name,value,count\npet,,3\n"


def test_a_table_is_read_back_by_pandas_as_it_was_written(tmp_path):
    rows = [
        {"name": "pet", "value": 1 / 3, "count": 3},
        {"name": "fur, long", "value": float("nan"), "count": 4},
        {"name": 'a "quote"', "value": np.float64(1e-17), "count": np.int64(5)},
    ]
    write_table(tmp_path / "a.csv", rows)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), pd.DataFrame(rows), rtol=1e-15, atol=0)


def test_a_table_whose_rows_have_other_keys_leaves_the_old_file(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        write_table(tmp_path / "a.csv", [{"a": 1}, {"a": 1, "b": 2}])
    assert files_of(tmp_path) == {"a.csv": b"old"}


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 5000])
def test_a_file_digest_is_the_sha256_of_its_bytes(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert file_digest(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "link", [h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/elsewhere")], ids=["external", "soft"]
)
def test_an_hdf5_file_with_a_link_is_refused(tmp_path, link):
    with create_hdf5(tmp_path / "a.h5", "mask") as file:
        file["deep/er"] = link
    with pytest.raises(InputError, match=r"a\.h5: deep/er is a link"), open_hdf5(tmp_path / "a.h5", "mask"):
        pass


def test_a_flipped_bit_in_an_hdf5_file_is_told_by_its_checksum(tmp_path):
    with create_hdf5(tmp_path / "a.h5", "mask") as file:
        values = np.arange(1000, dtype=np.uint16)
        place = (
            file.create_dataset("kept", data=values, chunks=(1000,), fletcher32=True).id.get_chunk_info(0).byte_offset
        )
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[place + 123] ^= 4
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.h5: damaged, a checksum differs") as error:  # noqa: SIM117
        with open_hdf5(tmp_path / "a.h5", "mask") as file:
            file["kept"][:]
    assert "\n" not in str(error.value)


def test_every_array_of_a_data_set_and_of_a_mask_has_a_checksum(dataset_path, tmp_path):
    with h5py.File(dataset_path) as file:
        assert file["images"].fletcher32
        assert file["labels"].fletcher32


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_a_file_has_the_permissions_that_the_umask_leaves_also_while_it_is_written(tmp_path, umask):
    before = os.umask(umask)
    try:
        with written_whole(tmp_path / "a" / "b.txt") as partial:
            partial.write_text("new")
            half_way = partial.stat().st_mode & 0o7777
        with create_hdf5(tmp_path / "a" / "c.h5", "mask") as file:
            file["values"] = np.arange(5)
            half_way |= max(path.stat().st_mode & 0o7777 for path in (tmp_path / "a").glob(".c.h5*"))
        write_table(tmp_path / "a" / "d.csv", [{"x": 1}])
    finally:
        os.umask(before)
    assert half_way == 0o666 & ~umask
    assert {path.stat().st_mode & 0o7777 for path in (tmp_path / "a").iterdir()} == {0o666 & ~umask}
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o777 & ~umask
