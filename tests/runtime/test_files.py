import errno
import fcntl
import hashlib
import os
import resource
from contextlib import contextmanager

import h5py
import numpy as np
import pandas as pd
import pytest

from spatial_reduction.runtime.checksum_footer import append_checksum
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import (
    create_hdf5,
    file_digest,
    folder_written_whole,
    open_hdf5,
    require_whole_table,
    write_table,
    written_whole,
)
from spatial_reduction.runtime.plain_text import as_markdown


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
    append_checksum(tmp_path / "a.h5")  # as if the file were too large to be compared with its own checksum
    with pytest.raises(InputError, match=r"a\.h5: damaged, a checksum differs") as error:  # noqa: SIM117
        with open_hdf5(tmp_path / "a.h5", "mask") as file:
            file["kept"][:]
    assert "\n" not in str(error.value)


def test_every_array_of_a_data_set_and_of_a_mask_has_a_checksum(dataset_path, tmp_path):
    with h5py.File(dataset_path) as file:
        assert file["images"].fletcher32
        assert file["labels"].fletcher32


def test_what_a_killed_process_left_of_a_file_goes_when_it_is_written_again(tmp_path):
    (tmp_path / ".a.txt.partial-1").write_text("half")
    (tmp_path / ".b.txt.partial-1").write_text("of another file")
    with written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert files_of(tmp_path) == {"a.txt": b"new", ".b.txt.partial-1": b"of another file"}


def test_a_process_that_lives_on_takes_nothing_from_its_successor(tmp_path):
    for _ in range(2):
        with written_whole(tmp_path / "a.txt") as partial:
            partial.write_text("new")
        (tmp_path / ".a.txt.partial-1").write_text("the successor's")
    assert files_of(tmp_path) == {"a.txt": b"new", ".a.txt.partial-1": b"the successor's"}


@contextmanager
def files_of_at_most(size):
    """Let no file of this process grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_hdf5(path, **options):
    with create_hdf5(path, "mask") as file:
        stored = file.create_dataset("kept", (2000, 100), "float64", **options)
        stored[:] = np.random.default_rng(0).random((2000, 100))


@pytest.mark.parametrize(
    "write",
    [
        write_hdf5,
        lambda path: write_hdf5(path, chunks=(1, 100), fletcher32=True),
        lambda path: write_hdf5(path, chunks=(64, 100), fletcher32=True, compression="gzip"),
        lambda path: write_table(path, [{"a": number} for number in range(100_000)]),
    ],
    ids=["contiguous", "chunks", "compressed", "table"],
)
def test_a_file_that_finds_no_room_is_said_in_one_line_and_leaves_the_old_one(tmp_path, write):
    (tmp_path / "a").write_text("old")
    with (
        files_of_at_most(200_000),
        pytest.raises(InputError, match="a: File too large; remove the cause and run again") as error,
    ):
        write(tmp_path / "a")
    assert "\n" not in str(error.value)
    assert files_of(tmp_path) == {"a": b"old"}


def refuse(path, refused):
    with written_whole(path) as partial:
        partial.write_text("half")
        raise OSError(errno.EACCES, "Permission denied", str(refused))


def test_the_refusal_to_read_another_file_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(PermissionError):
        refuse(tmp_path / "a.txt", tmp_path / "b.txt")
    with pytest.raises(InputError):
        refuse(tmp_path / "a.txt", tmp_path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    for content in ("old", "new"):
        with folder_written_whole(tmp_path / "a") as partial:
            (partial / content).write_text(content)
    assert files_of(tmp_path / "a") == {"new": b"new"}
    with pytest.raises(KeyError), folder_written_whole(tmp_path / "a") as partial:  # noqa: PT012
        (partial / "half").write_text("half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert files_of(tmp_path / "a") == {"new": b"new"}


@pytest.mark.parametrize("content", ["", "a", "a,b\n1,2\n3"])
def test_a_table_that_does_not_end_with_a_line_is_refused(tmp_path, content):
    write_table(tmp_path / "a.csv", [{"a": 1}])
    require_whole_table(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=r"a\.csv: a table that was cut short; delete it and run again"):
        require_whole_table(tmp_path / "a.csv")


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


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_arrays_that_lie_in_other_files_are_refused(tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(16)))
    with create_hdf5(tmp_path / "a.h5", "mask") as file:
        group = file.create_group("deep")
        if kind == "external":
            group.create_dataset("values", (16,), "u1", external=[(str(secret), 0, 16)])
        else:
            with h5py.File(tmp_path / "source.h5", "w") as source:
                source["values"] = np.arange(16)
            layout = h5py.VirtualLayout((16,), int)
            layout[:] = h5py.VirtualSource(tmp_path / "source.h5", "values", (16,))
            group.create_virtual_dataset("values", layout)
    refused = pytest.raises(InputError, match=r"a\.h5: the values of deep/values lie in other files")
    with refused, open_hdf5(tmp_path / "a.h5", "mask"):
        pass


def test_a_name_of_255_bytes_is_written(tmp_path):
    name = "ä" * 126 + ".h5"
    for _ in range(2):
        with create_hdf5(tmp_path / name, "mask") as file:
            file["values"] = [1]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_spreadsheet_computes_nothing_of_a_table(tmp_path):
    names = ["=1+1.png", "+a", "@b", "-rf", "-0.5", "a=b", "\x1b[2J", "line\nbreak", "\t=1"]
    write_table(tmp_path / "a.csv", [{"name": name, "value": -1.5} for name in names])
    read = pd.read_csv(tmp_path / "a.csv", dtype=str)
    expected = ["'=1+1.png", "'+a", "'@b", "'-rf", "-0.5", "a=b", "\\x1b[2J", "line\\nbreak", "\\t=1"]
    assert read["name"].tolist() == expected
    assert set(read["value"]) == {"-1.5"}


def test_markdown_shows_a_title_as_it_is():
    assert as_markdown("a*b* <script>\n[x](y) &lt;") == r"a\*b\* \<script\>\\n\[x\](y) \&lt;"
    assert as_markdown("Cats & dogs (2nd run)") == "Cats & dogs (2nd run)"


def test_a_locked_file_is_read(tmp_path):
    with create_hdf5(tmp_path / "a.h5", "mask") as file:
        file["kept"] = [1]
    with open(tmp_path / "a.h5", "rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        with open_hdf5(tmp_path / "a.h5", "mask") as file:
            assert file["kept"][0] == 1


def test_a_link_at_the_place_of_a_temporary_file_is_not_followed(tmp_path):
    (tmp_path / "other").write_text("mine")
    with written_whole(tmp_path / "first") as partial:
        partial.write_text("warm")  # leftovers are removed once only, before the first write
    planted = tmp_path / f".first.partial-{os.getpid()}"
    planted.symlink_to(tmp_path / "other")
    with written_whole(tmp_path / "first") as partial:
        partial.write_text("new")
    assert (tmp_path / "other").read_text() == "mine"
    assert (tmp_path / "first").read_text() == "new"
    assert not (tmp_path / "first").is_symlink()
