"""What tells damage to an HDF5 file before HDF5 reads it: a damaged heap or table can make it loop for ever, or crash.

A footer stands behind the end of the HDF5 file, which ignores it. It lists the chunks that HDF5 itself checks when it
reads them (`fletcher32`), and holds a digest of all bytes around them. So a check costs little, however large the
arrays are. It finds damage, not forgery.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import h5py

MAGIC = b"\nspatial-reduction checksums 1\n"
FOOTER = 64 + 8 + len(MAGIC)  # digest, length of the table, magic
Span = tuple[int, int]  # first byte, length

_intact: set[tuple[str, int, int, int]] = set()  # versions of files that this process has found intact


def append_checksum(path: str | Path) -> None:
    """Add a footer to a closed HDF5 file; who changes the file with HDF5 removes it."""
    with h5py.File(path, "r", locking=False) as file:
        chunks = _checked_chunks(file)
    with open(path, "rb+") as raw:
        end = raw.seek(0, os.SEEK_END)
        table = json.dumps({"end": end, "chunks": chunks}).encode()
        digest = _digest(raw, end, chunks, table)
        raw.seek(end)
        raw.write(table + digest + len(table).to_bytes(8) + MAGIC)


def has_wrong_checksum(path: str | Path) -> bool:
    """Return whether a file has a footer that it does not fit; one that HDF5 changed, or another program's, has none.

    Raises:
        OSError: the file cannot be read.
    """
    about = os.stat(path)
    version = (str(path), about.st_ino, about.st_size, about.st_mtime_ns)
    if version in _intact:
        return False
    with open(path, "rb") as raw:
        raw.seek(max(0, about.st_size - FOOTER))
        footer = raw.read()
        if not footer.endswith(MAGIC):
            return False
        try:
            start = about.st_size - FOOTER - int.from_bytes(footer[64:72])
            raw.seek(start)
            table = raw.read(about.st_size - FOOTER - start)
            known = json.loads(table)
            is_good = start == known["end"] and footer[:64] == _digest(raw, start, known["chunks"], table)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, MemoryError):
            return True
    if is_good:
        _intact.add(version)
    return not is_good


def _checked_chunks(file: h5py.File) -> list[Span]:
    """Return where the chunks lie that have checksums of their own, those that touch as one."""
    found: list[Span] = []

    def add(_: str, stored: h5py.Group | h5py.Dataset) -> None:
        if isinstance(stored, h5py.Dataset) and stored.fletcher32:
            stored.id.chunk_iter(lambda chunk: found.append((chunk.byte_offset, chunk.size)))

    file.visititems(add)
    merged: list[Span] = []
    for start, length in sorted(found):
        if merged and sum(merged[-1]) == start:
            merged[-1] = (merged[-1][0], merged[-1][1] + length)
        else:
            merged.append((start, length))
    return merged


def _digest(raw: BinaryIO, end: int, chunks: Sequence[Span], table: bytes) -> bytes:
    """Return the SHA-256, hexadecimal, of all bytes before `end` but the chunks, and of the table."""
    digest, place = hashlib.sha256(table), 0
    for start, length in [*chunks, (end, 0)]:
        raw.seek(place)
        while place < start:
            part = raw.read(min(1 << 20, start - place))
            if not part:
                raise ValueError("the file is shorter than its table says")
            digest.update(part)
            place += len(part)
        place = start + length
    return digest.hexdigest().encode()
