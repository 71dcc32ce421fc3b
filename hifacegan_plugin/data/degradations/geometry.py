"""Degradations that move parts of an image: mirroring and smooth distortion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hifacegan_plugin.data.degradations.registry import DEGRADATIONS, Integer, Step, Uniform, drawn

SUBPIXELS = 32  # cv2.remap's steps within a pixel; positions are rounded to them, to be the same on every machine


@DEGRADATIONS.register_module()
@dataclass
class Mirror(Step):
    """The image mirrored left to right."""

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See :class:`Step`."""
        return cv2.flip(image, 1)


@DEGRADATIONS.register_module()
@dataclass
class ThinPlateWarp(Step):
    """A smooth distortion: ``points`` x ``points`` points move by up to ``shift`` of the shorter side in x and y.

    A thin-plate spline interpolates the movement of the pixels between them (Bookstein, "Principal Warps", PAMI 1989,
    equations 1 to 5). The image is padded by reflection.
    """

    points: tuple[int, int] = drawn(4, Integer(at_least=2, at_most=10))
    shift: tuple[float, float] = drawn((0.01, 0.05), Uniform(at_least=0, at_most=0.5))

    def apply(self, image: np.ndarray, rng: np.random.Generator, points: int, shift: float) -> np.ndarray:
        """See :class:`Step`."""
        height, width = image.shape[:2]
        shifts = rng.uniform(-1, 1, (points * points, 2)) * shift * min(height, width)
        at = np.stack(np.meshgrid(np.linspace(0, 1, points), np.linspace(0, 1, points)), 2).reshape(-1, 2)
        at = at * (width, height) - 0.5  # the corners of the image, so that they never lie on a line
        pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).reshape(-1, 2)
        moved = pixels + thin_plate(at, shifts, pixels)
        x, y = (np.round(moved * SUBPIXELS) / SUBPIXELS).astype(np.float32).reshape(height, width, 2).transpose(2, 0, 1)
        return cv2.remap(image, x.copy(), y.copy(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def thin_plate(points: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate ``values`` by a thin-plate spline through ``points``.

    Args:
        points: ``(P, 2)``, not all on a line.
        values: ``(P, V)``, one plate for each column.
        at: where to interpolate, ``(N, 2)``.

    Returns:
        ``(N, V)``; a plate held in a plane stays one.
    """
    size = max(np.ptp(points), 1)  # of about 1, the system is well conditioned
    points, at = points / size, at / size
    affine = np.column_stack([np.ones(len(points)), points])
    system = np.block([[_bending(points, points), affine], [affine.T, np.zeros((3, 3))]])
    weights = np.linalg.solve(system, np.vstack([values, np.zeros((3, values.shape[1]))]))
    return _bending(at, points) @ weights[:-3] + np.column_stack([np.ones(len(at)), at]) @ weights[-3:]


def _bending(at: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return U(r) = r^2 log r^2 of the distances r between two sets of points, ``(N, P)``."""
    squared = ((at[:, None] - points[None]) ** 2).sum(2)
    return squared * np.log(np.where(squared > 0, squared, 1))
