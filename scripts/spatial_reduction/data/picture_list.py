"""The list of the pictures that a data set was made of, with which a plan sees whether they have changed.

A plan imports this, so it needs nothing but the standard library.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.data.pair import Pair
from spatial_reduction.runtime.errors import InputError

SCHEMA_VERSION = 1


class File(NamedTuple):
    """One file as it was read: its size in bytes, when it was changed (nanoseconds), SHA-256 of its bytes."""

    size: int
    changed: int
    sha256: str


class Changes(NamedTuple):
    """Names of files, relative to the root, that are not as they were read."""

    added: list[str]
    removed: list[str]
    replaced: list[str]

    def told(self) -> str:
        """Return the changes in words, "" if there are none."""
        named = [name for names in self for name in names]
        if not named:
            return ""
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in self._asdict().items() if names)
        files = "1 picture" if len(named) == 1 else f"{len(named)} pictures"
        return f"{files} changed ({counts}): {', '.join(named[:5])}{', ...' if len(named) > 5 else ''}"


def list_files(root: str | Path, dataset: Mapping[str, Any]) -> tuple[str, dict[str, Path]]:
    """Return what a layout says of its pairs beside their files, and {name relative to `root`: path} of these.

    The job that reads them names the files that it leaves aside; a plan need not.

    Raises:
        InputError: as `list_pairs`.
    """
    with redirect_stderr(io.StringIO()):
        pairs = list_pairs(dataset["source"], root, dataset["limit"], dataset["truth"], dataset["layout"])
    said = "\n".join(f"{pair.name}\t{pair.group}\t{pair.official}\t{pair.page}" for pair in pairs)
    return said, {Path(os.path.relpath(path, root)).as_posix(): path for path in _paths(pairs)}


def _paths(pairs: Iterable[Pair]) -> Iterable[Path]:
    return (path for pair in pairs for path in (pair.image, pair.labels))


def digest_files(said: str, files: Mapping[str, Path]) -> str:
    """Return a digest of the pairs, and of the names, sizes and times of change of their files."""
    versions = [f"{name}\t{about.st_size}\t{about.st_mtime_ns}" for name, about in _stat_all(files)]
    return hashlib.sha256("\n".join([said, *versions]).encode()).hexdigest()[:32]


def _stat_all(files: Mapping[str, Path]) -> Iterable[tuple[str, os.stat_result]]:
    for name in sorted(files):
        try:
            yield name, os.stat(files[name])
        except OSError as error:
            raise InputError(f"{files[name]}: {error.strerror}") from error


def compare_files(files: Mapping[str, Path], known: Mapping[str, File], read: Callable[[str], str]) -> Changes:
    """Return how files differ from those of a list; `read` digests a file of equal size that has another time."""
    replaced = []
    for name, about in _stat_all({name: path for name, path in files.items() if name in known}):
        was = known[name]
        is_as_it_was = about.st_size == was.size and (
            about.st_mtime_ns == was.changed or read(str(files[name])) == was.sha256
        )
        if not is_as_it_was:
            replaced.append(name)
    return Changes(sorted(files.keys() - known), sorted(known.keys() - files), replaced)


def content_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_list(path: str | Path) -> tuple[str, str, dict[str, File]] | None:
    """Return the digest, what the layout said and the files of a list; None if there is none that can be read."""
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        if stored["schema_version"] != SCHEMA_VERSION:
            return None
        return stored["digest"], stored["pairs"], {name: File(*file) for name, file in stored["files"].items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def describe_files(digest: str, said: str, files: Mapping[str, Path], threads: int) -> str:
    """Return the list of files as it is stored: what `read_list` reads."""
    versions = dict(_stat_all(files))
    with ThreadPoolExecutor(threads) as pool:
        digests = pool.map(content_digest, (files[name] for name in versions))
        rows = {
            name: File(about.st_size, about.st_mtime_ns, sha256)
            for (name, about), sha256 in zip(versions.items(), digests, strict=True)
        }
    return json.dumps({"schema_version": SCHEMA_VERSION, "digest": digest, "pairs": said, "files": rows}, indent=0)
