"""How a job gets memory from the operating system. No torch."""

import ctypes

# Parameters of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1  # bytes free at the top of the heap from which on they are given back: the largest int


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees; return whether the C library accepted that.

    glibc maps every block above 32 MiB anew and gives it back when it is freed, so the kernel clears each feature map
    of a network before it is written: half as much time again as the forward pass of 32 images of 128 x 128 itself
    (1.5 times the images per second at widths 32-64-128, one core; 1.2 times in training). No number changes. The
    peak of the memory grows by up to a tenth. Another C library is left as it is.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS have none; Windows cannot open None
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
