import subprocess
import sys

import pytest

from experiments import ROOT

BLOCKS, PAGES = 6, 1 << 14
# Prints how many pages the kernel cleared for blocks that are made and dropped in turn; only if told, they are kept.
COUNT_FAULTS = f"""
import resource, sys
from spatial_reduction.runtime.allocation import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(3)
for _ in range({BLOCKS}):
    b"x" * ({PAGES} * resource.getpagesize())
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(how):
    command = [sys.executable, "-c", COUNT_FAULTS, how]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "scripts")
    if process.returncode == 3:
        pytest.skip("this C library cannot be told to keep memory")
    return int(process.stdout)


def test_memory_that_was_freed_is_not_cleared_again():
    assert page_faults("returned") - page_faults("kept") > (BLOCKS - 2) * PAGES
