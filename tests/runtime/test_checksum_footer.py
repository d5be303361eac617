import h5py
import numpy as np
import pytest

from spatial_reduction.runtime.checksum_footer import FOOTER, MAGIC, append_checksum, has_wrong_checksum


@pytest.fixture
def file(tmp_path):
    """A file with two chunks that HDF5 checks itself, and small arrays that it does not."""
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as written:
        written.create_dataset("checked", data=np.arange(2000).reshape(2, 1000), chunks=(1, 1000), fletcher32=True)
        written["plain"] = np.arange(50)
        written.attrs["classes"] = ["background", "pet"]
    append_checksum(path)
    return path


def changed(path, position):
    """Write a copy in which one bit of one byte differs."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    copy = path.with_name(f"changed_{position}.h5")
    copy.write_bytes(content)
    return copy


def test_a_whole_file_fits_its_footer_and_hdf5_reads_it(file):
    assert not has_wrong_checksum(file)
    assert file.read_bytes().endswith(MAGIC)
    with h5py.File(file) as read:
        assert read["checked"][1, 999] == 1999


def test_a_bit_outside_the_checked_chunks_is_noticed_and_one_inside_is_left_to_hdf5(file):
    with h5py.File(file) as read:
        chunks = [read["checked"].id.get_chunk_info(number) for number in (0, 1)]
        plain = read["plain"].id.get_offset()
    inside = [range(chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks]
    assert has_wrong_checksum(changed(file, plain + 3))
    size = file.stat().st_size
    for position in range(0, size - FOOTER, 397):
        assert has_wrong_checksum(changed(file, position)) != any(position in span for span in inside)
    assert has_wrong_checksum(changed(file, size - FOOTER))  # in the digest
    with h5py.File(changed(file, inside[1][8])) as read, pytest.raises(OSError, match=r"checksum|Fletcher32|filter"):
        read["checked"][:]


def test_a_file_without_a_footer_is_another_programs(file):
    file.write_bytes(file.read_bytes()[: -len(MAGIC)])
    assert not has_wrong_checksum(file)
