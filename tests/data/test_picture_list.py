import os
import shutil

import pytest

from spatial_reduction.data.picture_list import (
    compare_files,
    content_digest,
    describe_files,
    digest_files,
    list_files,
    read_list,
)
from spatial_reduction.runtime.errors import InputError

DATASET = {"source": "oxford_pet", "limit": None, "truth": None, "layout": None}


@pytest.fixture
def root(pets, tmp_path):
    return shutil.copytree(pets, tmp_path / "pets")


@pytest.fixture
def known(root, tmp_path):
    """The list as it is stored when the data set is made."""
    said, files = list_files(root, DATASET)
    (tmp_path / "pictures.json").write_text(describe_files(digest_files(said, files), said, files, threads=2))
    return read_list(tmp_path / "pictures.json")


def changes(root, known):
    return compare_files(list_files(root, DATASET)[1], known[2], content_digest)


def test_the_list_is_read_as_it_was_written_and_stray_files_are_not_in_it(root, known):
    digest, said, files = known
    assert len(files) == 2 * len(said.splitlines()) == 48
    (root / "images/.DS_Store").touch()
    (root / "Thumbs.db").touch()
    again = list_files(root, DATASET)
    assert (digest_files(*again), again[0], again[1].keys()) == (digest, said, files.keys())
    assert changes(root, known).told() == ""


def test_other_dates_are_no_change_and_other_bytes_are(root, known):
    first, second, *_ = sorted((root / "images").glob("*.jpg"))
    os.utime(first, ns=(1, 1))
    assert changes(root, known).told() == ""
    content = bytearray(second.read_bytes())
    content[-1] ^= 1
    second.write_bytes(content)  # of the same size
    assert changes(root, known).told() == f"1 picture changed (1 replaced): images/{second.name}"


def test_what_is_added_and_removed_is_counted_and_named(root, known):
    pictures = sorted((root / "images").glob("*.jpg"))
    known[2].pop(f"images/{pictures[0].name}")
    known[2]["images/gone.jpg"] = next(iter(known[2].values()))
    told = changes(root, known).told()
    assert told == f"2 pictures changed (1 added, 1 removed): images/{pictures[0].name}, images/gone.jpg"


def test_a_picture_that_cannot_be_seen_is_named_and_a_damaged_list_is_none(root, tmp_path):
    said, files = list_files(root, DATASET)
    with pytest.raises(InputError, match="images/absent: No such file"):
        digest_files(said, files | {"absent": root / "images/absent"})
    (tmp_path / "pictures.json").write_text('{"schema_version": 1, "files": {"a": [1]}}')
    assert read_list(tmp_path / "pictures.json") is None
    assert read_list(tmp_path / "absent.json") is None
