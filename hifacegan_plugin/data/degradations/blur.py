"""Blur by convolution; images are padded by reflection."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from hifacegan_plugin.data.degradations.registry import DEGRADATIONS, Chance, Choice, Odd, Step, Uniform, drawn

_UNIT = 1 << 14  # kernel weights are whole multiples of 1 / _UNIT
_FRACTION = 64  # partial sums keep steps of 1 / _FRACTION grey level
_DIRECT_AREA = 50  # OpenCV takes kernels of this many weights and more through a Fourier transform
_SPARSE = 200  # up to this many weights other than zero, direct sums are faster than a Fourier transform


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Filter ``image`` with ``kernel``, with the same bytes on every machine.

    OpenCV's filter sums in float32, in an order that depends on the processor. So the weights are rounded to multiples
    of 2^-14; every sum is then a multiple of 2^-14, too, in any order. Direct sums are exact in float32; after a
    Fourier transform in float64, rounding gives the exact result.

    Args:
        image: uint8, (H, W) or (H, W, 3).
        kernel: (k, k), k odd and below 50, sum 1; not mirrored before use (a correlation).

    Returns:
        uint8, the shape of ``image``, clipped at 0 and 255; borders mirrored without repeating the edge.
    """
    radius = kernel.shape[0] // 2
    padded = cv2.copyMakeBorder(image, radius, radius, radius, radius, cv2.BORDER_REFLECT_101)
    weights = np.rint(kernel * _UNIT)
    weights.flat[weights.argmax()] += _UNIT - weights.sum()
    fits_int16 = np.abs(weights).sum() <= 2 * _UNIT
    is_sparse = np.count_nonzero(weights) <= _SPARSE
    return (_filter_directly if is_sparse and fits_int16 else _filter_by_fft)(padded, weights)


def _filter_directly(padded: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cut the kernel into tiles small enough for OpenCV to sum them directly; zeros cost nothing."""
    height, width = (length - weights.shape[0] + 1 for length in padded.shape[:2])

    def filter_tile(rows: slice, columns: slice, depth: int, unit: int) -> np.ndarray:
        part = padded[rows.start : rows.stop + height - 1, columns.start : columns.stop + width - 1]
        return cv2.filter2D(part, depth, weights[rows, columns] / np.float32(unit), anchor=(0, 0))[:height, :width]

    first, *others = _tiles(weights)
    if not others:
        return np.ascontiguousarray(filter_tile(*first, cv2.CV_8U, _UNIT))
    total = filter_tile(*first, cv2.CV_16S, _UNIT // _FRACTION)
    for tile in others:
        total += filter_tile(*tile, cv2.CV_16S, _UNIT // _FRACTION)
    return cv2.convertScaleAbs(np.maximum(total, 0, out=total), alpha=1 / _FRACTION)


def _filter_by_fft(padded: np.ndarray, weights: np.ndarray) -> np.ndarray:
    from scipy import fft  # 0.3 s to import

    height, width = (length - weights.shape[0] + 1 for length in padded.shape[:2])
    size = [fft.next_fast_len(length, real=True) for length in padded.shape[:2]]
    spectrum = fft.rfft2(np.atleast_3d(padded).transpose(2, 0, 1).astype(np.float64), size)
    spectrum *= fft.rfft2(weights, size).conj()
    total = np.rint(fft.irfft2(spectrum, size)[:, :height, :width]).astype(np.int64)
    filtered = ((total + _UNIT // 2) // _UNIT).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(filtered).reshape(height, width, *padded.shape[2:])


def _tiles(kernel: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Cut the non-zero part of ``kernel`` into bands of rows, each with fewer than ``_DIRECT_AREA`` weights."""
    filled = np.flatnonzero(kernel.any(axis=1))
    top, end = filled[0], filled[-1] + 1
    while top < end:
        for bottom in range(end, top, -1):
            columns = np.flatnonzero(kernel[top:bottom].any(axis=0))
            tile = slice(top, bottom), slice(columns[0], columns[-1] + 1)
            if kernel[tile].size < _DIRECT_AREA:
                break
        yield tile
        top = bottom


def motion_kernel(size: int, angle: float, direction: float) -> np.ndarray:
    """Kernel of a motion along a straight line through the centre.

    Args:
        size: odd number of pixels that the motion covers.
        angle: of the line against the vertical, in degrees.
        direction: from -1 to 1. The weights fall linearly along the line from (1 + direction) / 2 to
            (1 - direction) / 2: 0 is an even motion, at 1 and -1 it fades out towards one end.

    Returns:
        float64 (size, size), sum 1. Every row that the line crosses (every column of a flat line) has its two
        nearest pixels share the weight.
    """
    radius = size // 2
    along, across = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    is_flat = abs(across) > abs(along)
    if is_flat:
        along, across = across, along
    reach = round(radius * abs(along))
    step = np.arange(-reach, reach + 1)
    weight = 1 - direction * math.copysign(1, along) * step / max(reach, 1)
    offset = step * (across / along)
    left = np.floor(offset).astype(int)
    kernel = np.zeros((size, size + 1))
    kernel[radius + step, radius + left] = weight * (1 - (offset - left))
    kernel[radius + step, radius + left + 1] = weight * (offset - left)
    kernel = kernel[:, :size] / kernel[:, :size].sum()
    return kernel.T if is_flat else kernel


@DEGRADATIONS.register_module()
@dataclass
class GaussianBlur(Step):
    """Gaussian blur of standard deviation ``sigma`` (pixels); the kernel ends at ``truncate`` times that."""

    sigma: tuple[float, float] = drawn((3, 8), Uniform(at_least=0.01))
    truncate: tuple[float, float] = drawn(1.25, Uniform(at_least=0.5, at_most=10))

    def apply(self, image: np.ndarray, rng: np.random.Generator, sigma: float, truncate: float) -> np.ndarray:
        """See :class:`Step`."""
        size = 2 * max(1, round(truncate * sigma)) + 1
        return cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REFLECT_101)


@DEGRADATIONS.register_module()
@dataclass
class MotionBlur(Step):
    """Motion along a line over an odd ``size`` (pixels); at ``direction`` 1 and -1 it fades out towards one end.

    See :func:`motion_kernel`.
    """

    size: tuple[int, int] = drawn((10, 20), Odd(at_least=1, at_most=49))
    angle: tuple[float, float] = drawn((0, 360), Uniform())
    direction: tuple[float, float] = drawn((-1, 1), Uniform(-1, 1))

    def apply(
        self, image: np.ndarray, rng: np.random.Generator, size: int, angle: float, direction: float
    ) -> np.ndarray:
        """See :class:`Step`."""
        return convolve(image, motion_kernel(size, angle, direction))


@DEGRADATIONS.register_module()
@dataclass
class KernelBlur(Step):
    """Real-ESRGAN's kernels; ``beta`` is the exponent of ``shape`` generalized and plateau.

    Wang et al., ICCVW 2021, section 3.1. Of the squared Mahalanobis distance q, a ``gaussian`` is exp(-q / 2), a
    ``generalized`` Gaussian exp(-q^beta / 2), a ``plateau`` 1 / (1 + q^beta). With
    probability ``isotropic``, sigma_y is sigma_x. The host makes the kernels.
    """

    shape: tuple[str, ...] = drawn('gaussian', Choice(('gaussian', 'generalized', 'plateau')))
    size: tuple[int, int] = drawn((7, 21), Odd(3, 49))
    sigma_x: tuple[float, float] = drawn((0.2, 3), Uniform(at_least=0.05))
    sigma_y: tuple[float, float] = drawn((0.2, 3), Uniform(at_least=0.05))
    angle: tuple[float, float] = drawn((-180, 180), Uniform())
    beta: tuple[float, float] = drawn(1, Uniform(at_least=0.1, at_most=20))
    isotropic: float = drawn(0.5, Chance())

    def apply(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        shape: str,
        size: int,
        sigma_x: float,
        sigma_y: float,
        angle: float,
        beta: float,
        isotropic: bool,
    ) -> np.ndarray:
        """See :class:`Step`."""
        from basicsr.data import degradations as host

        build = {
            'gaussian': host.bivariate_Gaussian,
            'generalized': functools.partial(host.bivariate_generalized_Gaussian, beta=beta),
            'plateau': functools.partial(host.bivariate_plateau, beta=beta),
        }[shape]
        kernel = build(size, sigma_x, sigma_y, math.radians(angle), isotropic=isotropic)
        return convolve(image, kernel)


@DEGRADATIONS.register_module()
@dataclass
class SincFilter(Step):
    """Ideal low-pass filter, which causes ringing, with its ``cutoff`` in radians per pixel.

    It models ringing and overshoot (Real-ESRGAN, section 3.4). The host makes the kernel, truncated to a finite size.
    """

    size: tuple[int, int] = drawn((7, 21), Odd(3, 49))
    cutoff: tuple[float, float] = drawn((math.pi / 3, math.pi), Uniform(at_least=0.1, at_most=math.pi))

    def apply(self, image: np.ndarray, rng: np.random.Generator, size: int, cutoff: float) -> np.ndarray:
        """See :class:`Step`."""
        from basicsr.data.degradations import circular_lowpass_kernel

        return convolve(image, circular_lowpass_kernel(cutoff, size))
