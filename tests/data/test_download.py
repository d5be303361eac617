"""The download: checksum first, then its own files only, all or none. A server on this machine stands for the site."""

import hashlib
import io
import os
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from spatial_reduction.data import download
from spatial_reduction.data.download import download_oxford_pet
from spatial_reduction.data.unpack_tar import unpack_tar
from spatial_reduction.runtime.errors import InputError

NAMES = {"images.tar.gz": "images/a.jpg", "annotations.tar.gz": "annotations/trainval.txt"}


def member(name, content=b"content", **changes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, content


def write_tar(path, *members):
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)


def unpack(archive, folder, most_files=10, most_bytes=1000):
    unpack_tar(archive, folder, most_files, most_bytes)


def found_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_files_and_folders_are_unpacked_as_they_are(tmp_path):
    names = ["a b.txt", "it's/päw 猫", "-rf", "$(touch x)", "line\nbreak"]
    write_tar(tmp_path / "t.tar.gz", *(member(name, name.encode()) for name in names))
    unpack(tmp_path / "t.tar.gz", tmp_path / "out")
    assert found_in(tmp_path / "out") == sorted([*names, "it's"])
    assert all((tmp_path / "out" / name).read_text() == name for name in names)


HOSTILE = {
    "above": [member("../escaped")],
    "above in the middle": [member("a/../../escaped")],
    "absolute": [member("/tmp/escaped-from-an-archive")],
    "symbolic link": [member("link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
    "symbolic link inside": [member("link", b"", type=tarfile.SYMTYPE, linkname="a")],
    "a file through a link": [member("link", b"", type=tarfile.SYMTYPE, linkname=".."), member("link/escaped")],
    "hard link": [member("link", b"", type=tarfile.LNKTYPE, linkname="../../secret")],
    "device": [member("zero", b"", type=tarfile.CHRTYPE)],
    "named pipe": [member("pipe", b"", type=tarfile.FIFOTYPE)],
    "too many files": [member(f"n{index}", b"") for index in range(11)],
    "too many bytes": [member("a", bytes(600)), member("b", bytes(600))],
    "too many bytes at once": [member("bomb", bytes(50_000_000))],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_member_is_refused_in_one_line_and_nothing_is_written_outside(tmp_path, members):
    (tmp_path / "secret").write_text("secret")
    write_tar(tmp_path / "t.tar.gz", *members)
    with pytest.raises(InputError) as refusal:
        unpack(tmp_path / "t.tar.gz", tmp_path / "in" / "out")
    assert str(refusal.value).startswith(f"{tmp_path}/t.tar.gz: ")
    assert "\n" not in str(refusal.value)
    outside = [name for name in found_in(tmp_path) if not name.startswith("in/out/")]
    assert set(outside) <= {"in", "in/out", "secret", "t.tar.gz"}
    assert not os.path.exists("/tmp/escaped-from-an-archive")
    assert (tmp_path / "secret").stat().st_nlink == 1
    assert sum(path.lstat().st_size for path in (tmp_path / "in").rglob("*") if path.is_file()) <= 1000


@pytest.mark.parametrize("content", [b"", b"no archive", None], ids=["empty", "text", "cut"])
def test_a_damaged_archive_is_refused_in_one_line(tmp_path, content):
    write_tar(tmp_path / "t.tar.gz", member("a", os.urandom(900)))
    whole = (tmp_path / "t.tar.gz").read_bytes()
    (tmp_path / "t.tar.gz").write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(InputError, match=r"t\.tar\.gz: cannot be unpacked") as refusal:
        unpack(tmp_path / "t.tar.gz", tmp_path / "out")
    assert "\n" not in str(refusal.value)


def test_permissions_in_an_archive_are_not_taken_over(tmp_path):
    write_tar(tmp_path / "t.tar.gz", member("a", mode=0o6777), member("b", mode=0o666))
    unpack(tmp_path / "t.tar.gz", tmp_path / "out")
    assert [oct(path.stat().st_mode & 0o7777) for path in sorted((tmp_path / "out").iterdir())] == ["0o755", "0o644"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The folder of a server that has both archives; their checksums are those that are asked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    for archive, name in NAMES.items():
        write_tar(folder / archive, member(name, name.encode()))
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *arguments: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    digests = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in NAMES}
    monkeypatch.setattr(download, "ARCHIVES", digests)
    monkeypatch.setattr(download, "SITE", f"http://127.0.0.1:{server.server_port}/")
    yield folder
    server.shutdown()
    server.server_close()


def test_the_release_appears_whole_under_its_name(site, tmp_path):
    download_oxford_pet(tmp_path / "pets")
    assert found_in(tmp_path / "pets") == sorted(["images", "annotations", *NAMES.values()])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets", "site"]


def test_an_archive_of_another_checksum_is_not_unpacked(site, tmp_path):
    write_tar(site / "annotations.tar.gz", member("../escaped"))
    with pytest.raises(InputError, match=r"dataset\.root: the Oxford-IIIT Pet release cannot be downloaded .*checksum"):
        download_oxford_pet(tmp_path / "pets")
    assert not (tmp_path / "pets").exists()
    assert not list(tmp_path.rglob("escaped"))
    write_tar(site / "annotations.tar.gz", member(NAMES["annotations.tar.gz"], b"other"))
    download.ARCHIVES["annotations.tar.gz"] = hashlib.md5((site / "annotations.tar.gz").read_bytes()).hexdigest()
    (site / "images.tar.gz").unlink()  # it was fetched before, and is whole
    download_oxford_pet(tmp_path / "pets")
    assert (tmp_path / "pets" / NAMES["annotations.tar.gz"]).read_text() == "other"


def test_without_the_archive_the_line_says_what_to_do(site, tmp_path):
    (site / "images.tar.gz").unlink()
    with pytest.raises(InputError, match=r"set dataset\.root to a folder") as refusal:
        download_oxford_pet(tmp_path / "pets")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "pets").exists()
