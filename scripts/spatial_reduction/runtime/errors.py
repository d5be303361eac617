"""The one exception for input that a user can correct, and the line for a disk that refuses a file."""

import errno
import os
from pathlib import Path

# What a system answers that has no room for a file, or gives no permission to write it.
REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

# First word of a job's last line where the same job would fail again: its input must be corrected, or room be made.
FINAL = "error: "


class InputError(ValueError):
    """A file, key or value that the user gave is wrong; the message names it and says why."""


def refusal(path: str | Path, error: OSError) -> str:
    """Return the line that says what the system refused at `path` and what to do."""
    return f"{path}: {os.strerror(error.errno)}; remove the cause and run again: the run continues where it stopped"
