"""Rain and haze."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from hifacegan_plugin.data.degradations.blur import convolve, motion_kernel
from hifacegan_plugin.data.degradations.registry import DEGRADATIONS, Integer, Step, Uniform, drawn
from hifacegan_plugin.images.resizing import resize


@DEGRADATIONS.register_module()
@dataclass
class Rain(Step):
    """Streaks of rain in layers: ``density`` per 1,000 pixels, ``angle`` against the vertical in degrees.

    Farther layers have more streaks, which are shorter, thinner and fainter. A streak is a line, softened by motion
    blur along it, that brightens the image J towards white: 1 - (1 - J)(1 - opacity) for J in [0, 1].
    """

    density: tuple[float, float] = drawn((0.5, 4), Uniform(at_least=0, at_most=100))  # streaks per 1000 pixels
    length: tuple[float, float] = drawn((10, 40), Uniform(at_least=1, at_most=500))  # pixels
    width: tuple[float, float] = drawn((1, 2.5), Uniform(at_least=1, at_most=50))  # pixels
    angle: tuple[float, float] = drawn((-30, 30), Uniform(-90, 90))  # degrees against the vertical
    opacity: tuple[float, float] = drawn((0.3, 0.8), Uniform(0, 1))
    layers: tuple[int, int] = drawn((1, 3), Integer(1, 8))

    def apply(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        density: float,
        length: float,
        width: float,
        angle: float,
        opacity: float,
        layers: int,
    ) -> np.ndarray:
        """See :class:`Step`."""
        for layer in range(layers):
            nearness = 0.65**layer
            count = round(density / 1000 * image[..., 0].size / (layers * nearness))
            streaks = _streaks(image.shape[:2], rng, count, length * nearness, max(1, width * nearness), angle)
            veil = 255 - np.rint(streaks * (opacity * nearness)).astype(np.uint16)
            image = (255 - ((255 - image) * veil[..., None] + 127) // 255).astype(np.uint8)
        return image


def _streaks(
    size: tuple[int, int], rng: np.random.Generator, count: int, length: float, width: float, angle: float
) -> np.ndarray:
    """Draw ``count`` streaks of about this ``length`` and ``angle``; uint8 (H, W), 255 in the middle of a streak.

    They are drawn one pixel wide on a canvas smaller by ``width`` and enlarged, which blurs the wide, near ones.
    """
    canvas = np.zeros([math.ceil(side / width) for side in size], np.uint8)
    centre = rng.uniform((0, 0), canvas.shape[::-1], (count, 2))
    turned = np.radians(angle + rng.uniform(-3, 3, count))
    half = length / width / 4 * rng.uniform(0.6, 1.4, count)  # motion blur makes up the other half of the length
    reach = half[:, None] * np.stack((np.sin(turned), np.cos(turned)), axis=1)
    fraction = 4  # bits of a pixel that OpenCV is told
    ends = np.rint(np.stack((centre - reach, centre + reach), axis=1) * (1 << fraction)).astype(np.int32)
    cv2.polylines(canvas, ends, False, 255, 1, cv2.LINE_AA, fraction)
    blur = min(round(length / width / 2), 48) | 1
    return resize(convolve(canvas, motion_kernel(blur, angle, 0)), *size, 'linear')


@DEGRADATIONS.register_module()
@dataclass
class Haze(Step):
    """Atmospheric scattering; a larger ``beta`` is denser. Without depth maps, the depth is drawn: hills of
    1/``hills`` of the image, and a plane that recedes towards the top, with the share ``recession``.

    I = J t + A (1 - t) with transmission t = exp(-beta depth) (Koschmieder's law). The ranges of ``beta`` and
    ``airlight`` (A, in [0, 1]) are those of RESIDE (Li et al., IEEE TIP 2019).
    """

    beta: tuple[float, float] = drawn((0.6, 1.8), Uniform(at_least=0, at_most=20))
    airlight: tuple[float, float] = drawn((0.7, 1), Uniform(0, 1))
    hills: tuple[int, int] = drawn((2, 5), Integer(1, 64))
    recession: tuple[float, float] = drawn((0, 0.7), Uniform(0, 1))
    takes_depth = True

    def apply(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        beta: float,
        airlight: float,
        hills: int,
        recession: float,
        depth: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`Step`; ``depth`` is float (H, W) in [0, 1], and resized where ``image`` has another size."""
        height, width = image.shape[:2]
        if depth is None:
            depth = (1 - recession) * smooth_field(height, width, hills, rng)
            depth += recession * np.linspace(1, 0, height)[:, None]
        elif depth.shape != (height, width):
            depth = cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)
        # The transmission in multiples of 2^-15 keeps all that follows exact in float32, on any machine.
        transmission = (np.rint(np.exp(-beta * depth) * (1 << 15)) / (1 << 15)).astype(np.float32)[..., None]
        light = np.float32(round(255 * airlight))
        return np.rint((image - light) * transmission + light).astype(np.uint8)


def smooth_field(height: int, width: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth random surface: a uniform cubic B-spline with ``cells`` by ``cells`` patches.

    Returns:
        float64 (height, width), from 0 to 1, both of which it attains.
    """
    control = rng.random((cells + 3, cells + 3))
    field = _spline_basis(height, cells) @ control @ _spline_basis(width, cells).T
    return (field - field.min()) / max(np.ptp(field), 1e-9)


def _spline_basis(length: int, cells: int) -> np.ndarray:
    """The value of every cubic B-spline at every pixel centre, (length, cells + 3)."""
    position = (np.arange(length) + 0.5) * cells / length
    cell = position.astype(int)
    u = position - cell
    basis = np.zeros((length, cells + 3))
    pieces = (1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3
    for i, piece in enumerate(pieces):
        basis[np.arange(length), cell + i] = piece / 6
    return basis
