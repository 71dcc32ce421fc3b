"""How the C library gives memory to torch on a CPU."""

from __future__ import annotations

import ctypes
import platform

# Of malloc.h; see mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory(largest: int = 2**30) -> None:
    """Let this process keep the memory of feature maps that are freed, for the next ones.

    glibc hands blocks of some MiB back to the system, which clears them page by page when they are asked for again:
    more than half of the time of a network of few operations a pixel. What is kept is the peak of the heap. C libraries
    other than glibc stay as they are.

    Args:
        largest: bytes; larger blocks go back to the system nevertheless. They cost most where there are few of them,
            because of the holes that they leave in the heap.
    """
    if platform.libc_ver()[0] == 'glibc':
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, largest)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
