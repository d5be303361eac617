"""A checksum over a whole HDF5 file.

HDF5's own checksums are of arrays alone. One wrong byte elsewhere is taken for a value, ends in an error that names
nothing, or crashes the library; so a file is compared with its checksum before HDF5 sees it.
"""

import zlib
from functools import cache
from pathlib import Path
from typing import BinaryIO

SEAL, SEAL_BYTES = "spatial-reduction crc32 ", 512
SEALED_BYTES = (
    1 << 30
)  # larger files would take longer than a third of a second, and their arrays have HDF5's checksums


def seal(path: str | Path) -> None:
    """Write the checksum of an HDF5 file into its user block: the first 512 bytes, which HDF5 leaves to others."""
    with open(path, "rb+") as file:
        line = _line(file)
        file.seek(0)
        file.write(line)


@cache
def is_sealed(path: Path, size: int, changed: int) -> bool:  # noqa: ARG001
    """Return whether a file is as it was sealed, or never was (it is of another program); read once in each state.

    Args:
        size, changed: of the file, in bytes and nanoseconds. One of more than 1 GiB is not read whole.
    """
    with open(path, "rb") as file:
        head = file.read(SEAL_BYTES)
        if not head.startswith(SEAL.encode()):
            return True
        return size > SEALED_BYTES or head == _line(file)


def _line(file: BinaryIO) -> bytes:
    """Return the user block with the CRC-32 of all that follows it: it tells every burst of up to 32 wrong bits."""
    file.seek(SEAL_BYTES)
    checksum = 0
    while block := file.read(1 << 20):
        checksum = zlib.crc32(block, checksum)
    return f"{SEAL}{checksum:08x}\n".encode().ljust(SEAL_BYTES, b"\0")
