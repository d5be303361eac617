"""Fetch the Oxford-IIIT Pet release."""

import hashlib
import shutil
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from spatial_reduction.data.unpack_tar import unpack_tar
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import progress

SITE = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
ARCHIVES = {  # MD5, as torchvision's OxfordIIITPet has them
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
}
MOST_FILES, MOST_BYTES = 100_000, 4 << 30  # the release has 26,000 files of 0.9 GB
PART = 1 << 20  # bytes
PATIENCE = 60  # seconds without an answer


def download_oxford_pet(output: str | Path) -> None:
    """Download (800 MB), verify the archives' checksums, unpack; the folder appears whole or not at all.

    Archives that an earlier attempt fetched whole are not fetched again. None is unpacked before its checksum is right.

    Raises:
        InputError: the download failed, and what to do instead; or an archive holds what it should not.
    """
    output = Path(output)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial / "unpacked", ignore_errors=True)
    for name, checksum in ARCHIVES.items():
        try:
            _fetch(SITE + name, partial / name, checksum)
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError):  # it holds the connection
                error.close()
            raise InputError(
                f"dataset.root: the Oxford-IIIT Pet release cannot be downloaded ({error}); "
                "set dataset.root to a folder that holds its images/ and annotations/"
            ) from error
        unpack_tar(partial / name, partial / "unpacked", MOST_FILES, MOST_BYTES)
    (partial / "unpacked").rename(output)
    shutil.rmtree(partial)


def _fetch(address: str, path: Path, checksum: str) -> None:
    """Write what lies at an address to `path` if its MD5 is right, unless it is there."""
    if path.exists():
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "md5").hexdigest() == checksum:
                return
    digest = hashlib.md5()
    with written_whole(path) as partial, open(partial, "wb") as file, urlopen(address, timeout=PATIENCE) as answer:
        parts = -(-(answer.length or 0) // PART)
        for part in progress(iter(lambda: answer.read(PART), b""), parts, address, "MiB"):
            file.write(part)
            digest.update(part)
        if digest.hexdigest() != checksum:
            raise OSError(f"{address}: the checksum of what came differs")
