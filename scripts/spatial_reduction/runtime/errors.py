"""The one exception for input that a user can mend, and for a disk that takes no more."""

import errno
import os
from pathlib import Path

# What a system answers that has no room for a file, or gives no permission to write it.
REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

# How the line begins with which a job ends that would end so again: its input or the disk must be mended first.
FINAL = "error: "


class InputError(ValueError):
    """A file, key or value that the user gave is wrong; the message names it and says why."""


def refusal(path: str | Path, error: OSError) -> str:
    """Return the line that says what the system refused at `path` and what to do."""
    return f"{path}: {os.strerror(error.errno)}; mend that and run again, it goes on where it was"
