"""Paste a restored aligned crop back into the photograph."""

from __future__ import annotations

import math

import cv2
import numpy as np

from hifacegan_plugin.faces.alignment import Square, cut, to_image

FEATHER = 1 / 8  # width of the blended border, as a share of the side of a square


def paste(image: np.ndarray, crop: np.ndarray, square: Square) -> None:
    """Paste a crop over a square of an image, in place.

    Only the difference between the crop and the square, as :func:`~hifacegan_plugin.faces.alignment.cut` returns it, is
    resampled and added. So an unchanged crop does not change any byte of the image, and image detail finer than the
    pixels of the crop is kept. The difference is weighted by :func:`feathered_mask`, which falls to 0 at the border of
    the square; nothing outside the square changes.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, uint8 or uint16.
        crop: ``(side, side)`` or ``(side, side, C)``, of the same type.
        square: the square that the crop was cut from.
    """
    side = len(crop)
    mask = feathered_mask(side).reshape(side, side, *[1] * (crop.ndim - 2))
    change = (crop.astype(np.float32) - cut(image, square, side)) * mask
    if square.side < side:
        change = cv2.resize(change, (max(1, math.ceil(square.side)),) * 2, interpolation=cv2.INTER_AREA)
    region, start = _region_of(square, image.shape)
    part = image[region]
    transform = to_image(square._replace(centre=square.centre - start), len(change))
    change = cv2.warpAffine(change, transform, part.shape[1::-1], flags=cv2.INTER_CUBIC)
    part[:] = np.rint(np.clip(part + change, 0, np.iinfo(image.dtype).max))


def feathered_mask(side: int) -> np.ndarray:
    """Return the weight of a crop over its pixels, ``(side, side)``, float32.

    The weight is 1 in the middle and falls to 0 at the border along half a period of a cosine, over :data:`FEATHER` of
    the side, so the weight and its slope are continuous.
    """
    position = (np.arange(side) + 0.5) / side
    from_border = np.minimum(position, 1 - position)
    weight = (0.5 - 0.5 * np.cos(np.pi * np.minimum(from_border / FEATHER, 1))).astype(np.float32)
    return np.outer(weight, weight)


def _region_of(square: Square, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the bounding rectangle of a square in an image, and its top left corner."""
    size = np.array([shape[1], shape[0]])
    start = np.clip(np.floor(square.corners.min(0)).astype(int), 0, size - 1)
    stop = np.clip(np.ceil(square.corners.max(0)).astype(int) + 1, start + 1, size)
    return (slice(start[1], stop[1]), slice(start[0], stop[0])), start
