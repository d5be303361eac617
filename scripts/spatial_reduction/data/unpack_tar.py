"""Unpack a downloaded archive: only files and folders below one folder, and no more than expected."""

import tarfile
import zlib
from pathlib import Path

from spatial_reduction.runtime.errors import InputError


def unpack_tar(archive: str | Path, folder: str | Path, most_files: int, most_bytes: int) -> None:
    """Unpack a tar file, compressed by gzip or not, below `folder`.

    Raises:
        InputError: the archive is damaged, or holds a link, a device, a name that leads out of the folder, or more than
            `most_files` members or `most_bytes` bytes; what came before it in the archive is then left in the folder.
    """
    if not hasattr(tarfile, "data_filter"):
        raise InputError("dataset.root: Python 3.11.4 or later is needed to unpack archives safely")
    total = 0
    try:
        with tarfile.open(archive) as tar:
            for count, member in enumerate(tar, start=1):
                total += member.size
                if count > most_files or total > most_bytes:
                    raise InputError(f"{archive}: holds more than {most_files} files or {most_bytes} bytes")
                if not (member.isfile() or member.isdir()) or member.name.startswith("/"):
                    raise InputError(f"{archive}: {member.name!r} is no file or folder below that of the archive")
                tar.extract(member, folder, filter="data")  # which refuses names that lead elsewhere
    except InputError:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{archive}: cannot be unpacked ({reason})") from error
