"""The log line with the speed, memory and remaining time of a training."""

from __future__ import annotations

import time
from datetime import timedelta

import torch

from hifacegan_plugin.system.memory import describe_peak_memory


class Throughput:
    """Measures the speed of a training.

    Args:
        total_iter: number of iterations of the training.
        device: device of the training; on a CPU, the memory of the process is reported.
    """

    def __init__(self, total_iter: int, device: torch.device) -> None:
        self.total_iter = total_iter
        self.device = device
        self.iterations = self.images = 0
        self.start = self.last_line = time.monotonic()

    def count(self, images: int) -> None:
        """Count an iteration; ``images`` is the number of images of all processes."""
        self.iterations += 1
        self.images += images

    def line(self, current_iter: int) -> str:
        """Return a line with the images per second since the last line, the peak memory and the remaining time.

        The estimate of the remaining time includes validations and checkpoints.
        """
        now = time.monotonic()
        rate = self.images / (now - self.last_line)
        left = (self.total_iter - current_iter) * (now - self.start) / self.iterations
        self.images, self.last_line = 0, now
        return (
            f'{current_iter:,} of {self.total_iter:,} iterations, {rate:.3g} images/s, '
            f'{describe_peak_memory(self.device)} at most, {timedelta(seconds=round(left))} left'
        )
