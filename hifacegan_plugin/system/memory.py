"""Memory: the peak of this process, and how the C library hands it out on a CPU."""

from __future__ import annotations

import ctypes
import platform
import sys

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# Of malloc.h; see mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_OF_OLD_GLIBC = 2**25  # DEFAULT_MMAP_THRESHOLD_MAX; more is refused by releases that keep to mallopt(3)


def keep_freed_memory(largest: int = 2**30) -> None:
    """Let this process keep the memory of feature maps that are freed, for the next ones.

    glibc hands blocks of some MiB back to the system, which clears them page by page when they are asked for again:
    more than half of the time of a network of few operations a pixel. What is kept is the peak of the heap. C libraries
    other than glibc stay as they are. A second call replaces the first.

    Args:
        largest: bytes; larger blocks go back to the system nevertheless, and leave no holes in the heap.
    """
    if platform.libc_ver()[0] == 'glibc':
        libc = ctypes.CDLL(None)
        # Setting the second alone would fix the first at its default of 128 KiB, which is worse than nothing.
        if not libc.mallopt(M_MMAP_THRESHOLD, largest):
            libc.mallopt(M_MMAP_THRESHOLD, LARGEST_OF_OLD_GLIBC)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def peak_memory(device: torch.device) -> int | None:
    """Return the peak memory in bytes so far: allocated on the GPU, or resident of this process (not on Windows)."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def describe_peak_memory(device: torch.device) -> str:
    """Return :func:`peak_memory` as ``1.25 GiB``."""
    peak = peak_memory(device)
    return 'an unknown amount' if peak is None else f'{peak / 2**30:.2f} GiB'


def gpu_memory() -> int:
    """Return the bytes of memory of the current GPU; 0 where there is none."""
    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
