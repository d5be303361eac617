"""How every file of a run is written (whole or not at all) and opened (checked, or refused in one line)."""

import csv
import glob
import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spatial_reduction.runtime.checksum_footer import append_checksum, has_wrong_checksum
from spatial_reduction.runtime.errors import REFUSALS, InputError, refusal
from spatial_reduction.runtime.plain_text import as_cell

SCHEMA_VERSION = 1
# A chunk is read whole. One that fits into the processor's cache with its copy is read in sequence as fast as one of a
# MiB (1.2 times, 0.9 to 1.5), and single images at random, as a training reads that streams, 7 times as fast. Half as
# large, more chunks cost more. Images stay uncompressed: gzip saves a seventh and reads at a sixth of the rate, lzf
# saves 4 %; of labels gzip saves 95 %. `make benchmark` measures this.
CHUNK_BYTES = 1 << 16
# What HDF5 and NumPy raise where a file does not hold what it should.
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, MemoryError)
MALFORMED += (OSError, SystemError)
OF_MACHINE = ("cumulative_seconds", "gpu_memory_mb", "device")  # columns that differ when a run is repeated
_cleared: set[Path] = set()


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; flush and rename it when the body succeeds.

    When the body raises, the temporary file is removed and an older file at `path` stays as it was. What killed
    processes left of the same file is removed first.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{_short(path.name)}.partial-{os.getpid()}")
    with _refusal_told(path, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # no planted link is followed
        try:
            yield partial
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; give it that name, in place of an older one, when the body succeeds.

    When the body raises, it is removed.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    with _refusal_told(path, partial):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _short(name: str) -> str:
    """Return a name to which more can be added: a file's has at most 255 bytes."""
    return name if len(os.fsencode(name)) <= 200 else hashlib.sha256(os.fsencode(name)).hexdigest()


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes left of `path`.

    Once in a process: one that outlived its snakemake must not take away what its successor is writing.
    """
    if path.absolute() not in _cleared:
        for leftover in path.parent.glob(f".{glob.escape(_short(path.name))}.partial-*"):
            leftover.unlink(missing_ok=True)
        _cleared.add(path.absolute())


@contextmanager
def _refusal_told(path: Path, partial: Path) -> Iterator[None]:
    """Turn the refusal to write `path` into one line."""
    try:
        yield
    except OSError as error:
        place, refused = str(partial), str(error.filename or partial)
        if error.errno not in REFUSALS or not (place.startswith(refused) or refused.startswith(place)):
            raise
        raise InputError(refusal(path, error)) from error


class _Sink(io.FileIO):
    """A file for HDF5 to write, which keeps a refused write to itself: HDF5 crashes when it closes after one."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data)
        done = 0
        try:
            while self.error is None and done < len(view):
                done += super().write(view[done:])
        except OSError as error:
            self.error = error
        return len(view)


@contextmanager
def create_hdf5(path: str | Path, kind: str) -> Iterator[h5py.File]:
    """Yield a new HDF5 file of the given kind (`dataset`, `saliency`, `mask`, ...), with its checksums, whole."""
    with written_whole(path) as partial:
        with _Sink(partial, "w+") as sink:
            try:
                with h5py.File(sink, "w") as file:
                    file.attrs["kind"] = kind
                    file.attrs["schema_version"] = SCHEMA_VERSION
                    yield file
            finally:
                if sink.error:
                    raise sink.error
        append_checksum(partial)


@contextmanager
def open_hdf5(path: str | Path, kind: str) -> Iterator[h5py.File]:
    """Yield an HDF5 file opened for reading.

    Raises:
        InputError: the file is missing, damaged (now, or where it is read later), of another kind or of another
            schema version, or it holds links to other files.
    """
    try:
        if has_wrong_checksum(path):
            raise InputError(f"{path}: damaged, a checksum differs; delete it and run again")
        # Files are written whole and renamed, so no reader needs a lock; some disks have none.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a readable HDF5 file ({reason}); delete it and run again") from error
    with file:
        with well_formed(path):
            _require_kind(path, file, kind)
        try:
            yield file
        except OSError as error:
            if not _is_damaged(file):  # the error is of another file that is open, too
                raise
            raise InputError(f"{path}: damaged, a checksum differs ({error}); delete it and run again") from error


def _is_damaged(file: h5py.File) -> bool:
    """Return whether some array of a file cannot be read; all of it is read to find out."""

    def fails(name: str, stored: h5py.Group | h5py.Dataset) -> bool | None:  # noqa: ARG001
        if not isinstance(stored, h5py.Dataset):
            return None
        try:
            for part in stored.iter_chunks() if stored.chunks and stored.size else [()]:
                stored[part]
        except OSError:
            return True
        return None

    return bool(file.visititems(fails))


def read_rows(stored: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """Return rows of an array in any order: positions int64 (n,) -> (n, ...).

    A run of rows is read at once, others one by one: h5py's own selection of single rows takes 100 times as long.
    """
    first = int(rows[0]) if len(rows) else 0
    if np.array_equal(rows, np.arange(first, first + len(rows))):
        return stored[first : first + len(rows)]
    values = np.empty((len(rows), *stored.shape[1:]), stored.dtype)
    for place, row in enumerate(rows):
        values[place] = stored[row]
    return values


def _require_kind(path: str | Path, file: h5py.File, kind: str) -> None:
    found = (file.attrs.get("kind"), file.attrs.get("schema_version"))
    if found != (kind, SCHEMA_VERSION):
        raise InputError(
            f"{path}: expected a {kind} file of schema version {SCHEMA_VERSION}, "
            f"found kind {found[0]}, version {found[1]}; delete it and run again"
        )
    link = file.visititems_links(lambda name, link: None if isinstance(link, h5py.HardLink) else name)
    if link:
        raise InputError(f"{path}: {link} is a link, to another file perhaps; no file of this workflow holds one")
    elsewhere = file.visititems(lambda name, stored: name if _lies_elsewhere(stored) else None)
    if elsewhere:
        raise InputError(f"{path}: the values of {elsewhere} lie in other files; no file of this workflow does that")


def _lies_elsewhere(stored: h5py.Group | h5py.Dataset) -> bool:
    """Whether an array is kept in any file that its writer named (external storage, a virtual data set)."""
    return isinstance(stored, h5py.Dataset) and (stored.is_virtual or bool(stored.external))


@contextmanager
def well_formed(path: str | Path) -> Iterator[None]:
    """Refuse a file, in one line that names it, if what is read from it here is not there or not of its kind.

    For code that does nothing but read: an error of the program would be taken for one of the file.
    """
    try:
        yield
    except InputError:
        raise
    except MALFORMED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not as this workflow writes it ({reason}); delete it and run again") from error


def append_row(path: str | Path, row: Mapping[str, Any], is_first: bool) -> None:
    """Append one row to a CSV that is there to be watched while it grows; a full disk does not stop what is watched.

    Args:
        is_first: the table begins anew, with the names of its columns.
    """
    with suppress(OSError), open(path, "w" if is_first else "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
        if is_first:
            writer.writeheader()
        writer.writerow(row)


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys as CSV, whole; a value that is not defined (NaN) is an empty cell, text is `as_cell`.

    The jobs that run by the thousand write their small tables with this: importing pandas takes longer.
    """
    with written_whole(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return as_cell(value)
    return "" if value != value else value


def require_whole_table(path: str | Path) -> None:
    """Refuse a table whose last line has no end: it was cut short. (A cut between two lines is not noticed.)

    Raises:
        InputError: names the file.
    """
    with open(path, "rb") as file:
        file.seek(-1 if os.path.getsize(path) else 0, os.SEEK_END)
        if file.read() != b"\n":
            raise InputError(f"{path}: a table that was cut short; delete it and run again")


def table_digest(path: str | Path) -> str:
    """Return the SHA-256 of a CSV table without the columns that tell of the machine: equal runs have equal ones."""
    require_whole_table(path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = [
            sorted((name, cell) for name, cell in row.items() if name not in OF_MACHINE) for row in csv.DictReader(file)
        ]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
