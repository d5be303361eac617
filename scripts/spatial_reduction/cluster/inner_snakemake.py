"""Snakemake, run from a job of another run. No torch."""

import os
import subprocess
from collections.abc import Callable, Sequence


def run_snakemake(command: Sequence[str], tell: Callable[[str], None]) -> tuple[int, str]:
    """Run a command to its end; return its exit status and all that it wrote to standard error.

    What the run around it has in the environment (SNAKEMAKE_...) is not handed on.

    Args:
        tell: called with each line of standard error as it comes, without the line break.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    told = []
    with subprocess.Popen(command, env=environment, **streams) as process:
        for line in process.stderr:
            told.append(line)
            tell(line.rstrip("\n"))
    return process.returncode, "".join(told)
