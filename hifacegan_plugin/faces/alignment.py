"""Align faces as in FFHQ and CelebA-HQ: the square around a face, and the transform between crop and photograph.

Karras et al., "Progressive growing of GANs", ICLR 2018, appendix C; FFHQ (Karras et al., "A style-based generator
architecture", CVPR 2019) uses the same square. Coordinates are in pixels, x to the right and y down. Whole numbers are
the centres of pixels: an image of width W spans x from -0.5 to W - 0.5.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np


class Square(NamedTuple):
    """An oriented square in an image.

    Attributes:
        centre: ``(2,)``.
        half: ``(2,)``, from the centre to the middle of the right side.
    """

    centre: np.ndarray
    half: np.ndarray

    @property
    def side(self) -> float:
        """The length of a side in pixels."""
        return 2 * math.hypot(*self.half)

    @property
    def roll(self) -> float:
        """The clockwise rotation of the square in degrees."""
        return math.degrees(math.atan2(self.half[1], self.half[0]))

    @property
    def corners(self) -> np.ndarray:
        """``(4, 2)``, from the top left one clockwise."""
        down = _rotate_90(self.half)
        return self.centre + np.array([-self.half - down, self.half - down, self.half + down, down - self.half])

    def enlarged(self, times: float) -> Square:
        """Return the same square in the image resized by the factor ``times``."""
        return Square((self.centre + 0.5) * times - 0.5, self.half * times)

    def with_margin(self, margin: float) -> Square:
        """Return the square enlarged by ``margin`` times its side at each side."""
        return self._replace(half=self.half * (1 + 2 * margin))


def ffhq_square(eyes: np.ndarray, mouth: np.ndarray) -> Square:
    """Return the square that FFHQ cuts out around a face.

    Args:
        eyes: ``(2, 2)``, centres of the two eyes, the one on the left of an upright image first.
        mouth: ``(2, 2)``, corners of the mouth, in the same order.
    """
    between = eyes[1] - eyes[0]
    upward = eyes.mean(0) - mouth.mean(0)
    direction = between + _rotate_90(upward)  # both point to the right
    direction = direction / math.hypot(*direction)
    side = max(4.0 * math.hypot(*between), 3.6 * math.hypot(*upward))
    return Square(eyes.mean(0) - 0.1 * upward, direction * side / 2)


def to_image(square: Square, side: int) -> np.ndarray:
    """Return the ``(2, 3)`` matrix from pixels of the crop, ``side`` by ``side``, to pixels of the image."""
    across = square.half * 2 / side
    down = _rotate_90(across)
    top_left = square.centre + (across + down) * (1 - side) / 2
    return np.column_stack([across, down, top_left])


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a ``(2, 3)`` matrix to a point ``(2,)`` or to points ``(N, 2)``."""
    return points @ transform[:, :2].T + transform[:, 2]


def cut(image: np.ndarray, square: Square, side: int) -> np.ndarray:
    """Cut a square out of an image, turned upright and resized.

    The square is sampled bicubically at one to two times its resolution, then shrunk by area interpolation, so that
    fine detail does not alias. Beyond the image, its reflection is used.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, uint8 or uint16.
        square: what to cut out.
        side: side of the crop in pixels.

    Returns:
        ``(side, side)`` or ``(side, side, C)``, of the same type.
    """
    finer = max(1, math.ceil(square.side / side))
    image, offset = _neighbourhood(image, square)
    transform = to_image(square._replace(centre=square.centre - offset), side * finer)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(image, transform, (side * finer,) * 2, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return crop if finer == 1 else cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)


def share_inside(square: Square, width: int, height: int) -> float:
    """Return the share of a square's area that lies inside an image, from 0 to 1."""
    image = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    area, _ = cv2.intersectConvexConvex(square.corners.astype(np.float32), image.astype(np.float32))
    return min(1.0, area / square.side**2)


def _rotate_90(vector: np.ndarray) -> np.ndarray:
    """Rotate a vector by 90 degrees clockwise."""
    return np.array([-vector[1], vector[0]])


def _neighbourhood(image: np.ndarray, square: Square) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of an image around a square, with what is reflected into it, and the part's top left corner.

    This is needed because OpenCV cannot warp images of more than 32766 pixels a side.
    """
    size = np.array([image.shape[1], image.shape[0]])
    first = np.floor(square.corners.min(0)).astype(int) - 4  # bicubic interpolation reaches two pixels further
    last = np.ceil(square.corners.max(0)).astype(int) + 4
    start = np.clip(np.minimum(first, 2 * (size - 1) - last), 0, size - 1)
    stop = np.clip(np.maximum(last, -first) + 1, 1, size)
    return np.ascontiguousarray(image[start[1] : stop[1], start[0] : stop[0]]), start
