"""Memory: the peak usage of this process, the size of the GPU, and the allocator of the C library."""

from __future__ import annotations

import ctypes
import platform
import sys

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# From malloc.h; see mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
DEFAULT_MMAP_THRESHOLD_MAX = 2**25  # bytes; some releases of glibc reject larger thresholds


def keep_freed_memory(largest: int = 2**30) -> None:
    """Make the allocator keep freed memory for reuse, such as that of feature maps.

    By default, glibc returns blocks of a few MiB to the system, which clears every page before it hands them out again.
    This takes more than half of the run time of a network with few operations per pixel. With this setting, the process
    keeps its peak heap. Does nothing with other C libraries. A second call replaces the first.

    Args:
        largest: size in bytes above which blocks are still returned to the system, so that they do not fragment the
            heap.
    """
    if platform.libc_ver()[0] == 'glibc':
        libc = ctypes.CDLL(None)
        # Set both: the trim threshold alone fixes the mmap threshold at 128 KiB, which is slower than the defaults.
        if not libc.mallopt(M_MMAP_THRESHOLD, largest):
            libc.mallopt(M_MMAP_THRESHOLD, DEFAULT_MMAP_THRESHOLD_MAX)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def peak_memory(device: torch.device) -> int | None:
    """Return the peak memory so far in bytes: allocated on the GPU, or resident on a CPU (None on Windows)."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def describe_peak_memory(device: torch.device) -> str:
    """Return :func:`peak_memory` as text, such as ``1.25 GiB``."""
    peak = peak_memory(device)
    return 'an unknown amount' if peak is None else f'{peak / 2**30:.2f} GiB'


def gpu_memory() -> int:
    """Return the memory of the current GPU in bytes; 0 without a GPU."""
    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
