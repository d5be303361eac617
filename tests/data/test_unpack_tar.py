import io
import tarfile

import pytest

from spatial_reduction.data.unpack_tar import unpack_tar
from spatial_reduction.runtime.errors import InputError


@pytest.fixture
def unpack(tmp_path):
    """Unpack an archive of {name: content, or the target of a link}."""

    def run(members, most_files=10, most_bytes=1000):
        with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as tar:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                if isinstance(content, str):
                    member.type, member.linkname = tarfile.SYMTYPE, content
                    tar.addfile(member)
                else:
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        unpack_tar(tmp_path / "archive.tar.gz", tmp_path / "out", most_files, most_bytes)
        return tmp_path / "out"

    return run


def test_files_and_folders_of_the_archive_are_unpacked(unpack):
    assert (unpack({"images/a.jpg": b"abc", "list.txt": b""}) / "images/a.jpg").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../out_of_it": b"x"}, "cannot be unpacked"),
        ({"/tmp/absolute": b"x"}, "no file or folder below"),
        ({"link": "/etc/passwd"}, "no file or folder below"),
        ({f"{number}": b"" for number in range(11)}, "more than 10 files"),
        ({"large": bytes(1001)}, "or 1000 bytes"),
    ],
)
def test_what_leads_out_of_the_folder_or_is_too_much_is_refused(unpack, tmp_path, members, said):
    with pytest.raises(InputError, match=said):
        unpack(members)
    assert not (tmp_path / "out_of_it").exists()


def test_a_damaged_archive_is_named(unpack, tmp_path):
    unpack({"a": b"abc"})
    (tmp_path / "archive.tar.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"archive\.tar\.gz: cannot be unpacked"):
        unpack_tar(tmp_path / "archive.tar.gz", tmp_path / "out", 10, 1000)
