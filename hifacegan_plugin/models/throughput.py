"""The line in the log that reports how fast a training runs, how much memory it needs and how long it will take."""

from __future__ import annotations

import time
from datetime import timedelta

import torch

from hifacegan_plugin.system.memory import describe_peak_memory


class Throughput:
    """Counts iterations and images against the clock.

    Args:
        total_iter: iterations of the whole training.
        device: device whose memory is reported: that of a GPU, or of the process on a CPU.
    """

    def __init__(self, total_iter: int, device: torch.device) -> None:
        self.total_iter = total_iter
        self.device = device
        self.iterations = self.images = 0
        self.start = self.last_line = time.monotonic()

    def count(self, images: int) -> None:
        """Count an iteration on so many images, over all processes."""
        self.iterations += 1
        self.images += images

    def line(self, current_iter: int) -> str:
        """Return a line with the images per second since the last line, the peak memory so far, and the time left.

        The time left is estimated from all the time that this process took, validations and checkpoints included.
        """
        now = time.monotonic()
        rate = self.images / (now - self.last_line)
        left = (self.total_iter - current_iter) * (now - self.start) / self.iterations
        self.images, self.last_line = 0, now
        return (
            f'{current_iter:,} of {self.total_iter:,} iterations, {rate:.3g} images/s, '
            f'{describe_peak_memory(self.device)} at most, {timedelta(seconds=round(left))} left'
        )
