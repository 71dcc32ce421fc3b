"""Blur by convolution; beyond its border a picture goes on mirrored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from hifacegan_plugin.data.degradations.registry import DEGRADATIONS, Integer, Step, Uniform, drawn

_BITS = 16


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate ``image`` with ``kernel``, to the same bytes on every machine.

    OpenCV sums in float32, in an order (and, for large kernels, through a Fourier transform) that depends on the
    processor. So the weights are rounded to multiples of 2^-16, which makes every partial sum exact in float32,
    and large kernels go through in bands of rows small enough to be summed directly.

    Args:
        image: uint8, (H, W, 3).
        kernel: (k, k), k odd, sum 1.

    Returns:
        uint8, (H, W, 3), borders mirrored without repeating the edge.
    """
    raise NotImplementedError


def motion_kernel(size: int, angle: float, direction: float) -> np.ndarray:
    """Kernel of a motion along a straight line.

    Args:
        size: odd number of pixels that the motion covers.
        angle: of the line against the vertical, in degrees.
        direction: the weights fall linearly along the line from (1 + direction) / 2 to (1 - direction) / 2:
            0 is an even motion, 1 and -1 are motions that fade out towards one end.

    Returns:
        float64 (size, size), sum 1.
    """
    radius = size // 2
    weights = np.linspace((1 + direction) / 2, (1 - direction) / 2, size)
    along = np.arange(-radius, radius + 1)
    x, y = radius + along * math.sin(math.radians(angle)), radius + along * math.cos(math.radians(angle))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    kernel = np.zeros((size + 1, size + 1))
    for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = (1 - np.abs(x - left - dx)) * (1 - np.abs(y - top - dy))
        np.add.at(kernel, (top + dy, left + dx), weights * share)
    return kernel[:size, :size] / kernel[:size, :size].sum()


@DEGRADATIONS.register_module()
@dataclass
class GaussianBlur(Step):
    """Gaussian blur of standard deviation ``sigma`` (pixels), its kernel cut off at ``truncate`` sigma."""

    sigma: tuple[float, float] = drawn((3, 8), Uniform(at_least=0.01))
    truncate: float = 1.3

    def apply(self, image: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
        """See :class:`Step`."""
        size = 2 * max(1, round(self.truncate * sigma)) + 1
        return cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REFLECT_101)


@DEGRADATIONS.register_module()
@dataclass
class MotionBlur(Step):
    """Motion blur over ``size`` pixels (an even draw counts as the odd size above it); see :func:`motion_kernel`."""

    size: tuple[int, int] = drawn((10, 20), Integer(at_least=1))
    angle: tuple[float, float] = drawn((0, 360), Uniform())
    direction: tuple[float, float] = drawn((-1, 1), Uniform(-1, 1))

    def apply(self, image: np.ndarray, rng: np.random.Generator, size: int, angle: float,
              direction: float) -> np.ndarray:
        """See :class:`Step`."""
        return cv2.filter2D(image, -1, motion_kernel(size | 1, angle, direction), borderType=cv2.BORDER_REFLECT_101)
