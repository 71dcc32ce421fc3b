"""The line that tells how fast a training runs, how long it will take and what memory it needs."""

from __future__ import annotations

import resource
import sys
import time
from datetime import timedelta

import torch


class Progress:
    """Counts iterations and pictures against the clock.

    Args:
        total_iter: iterations of the whole training.
        device: whose memory is told: a GPU's, or the process's on a CPU.
    """

    def __init__(self, total_iter: int, device: torch.device) -> None:
        self.total_iter = total_iter
        self.device = device
        self.iterations = self.pictures = 0
        self.start = self.last_line = time.monotonic()

    def count(self, pictures: int) -> None:
        """Count an iteration on so many pictures, over all processes."""
        self.iterations += 1
        self.pictures += pictures

    def line(self, current_iter: int) -> str:
        """Tell pictures per second since the last line, the largest memory so far, and the time left.

        The time left goes by the whole time of this process, with its validations and checkpoints.
        """
        now = time.monotonic()
        rate = self.pictures / (now - self.last_line)
        left = (self.total_iter - current_iter) * (now - self.start) / self.iterations
        self.pictures, self.last_line = 0, now
        return (
            f'{current_iter:,} of {self.total_iter:,} iterations, {rate:.3g} images/s, '
            f'{peak_memory(self.device) / 2**30:.2f} GiB at most, {timedelta(seconds=round(left))} left'
        )


def peak_memory(device: torch.device) -> int:
    """Give the largest memory in bytes so far: allocated on the GPU, or resident of this process."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)
