"""Bringing the images of a data set to one size."""

from __future__ import annotations

import math

import numpy as np

from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import MAX_PIXELS


def resize_shorter_side(image: np.ndarray, size: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Resize an image to a shorter side of ``size``: by area means where it shrinks, bicubically where it grows.

    Args:
        image: uint8 or uint16, ``(H, W)`` or ``(H, W, C)``.
        size: in pixels.
        max_pixels: that the result may have.

    Raises:
        ImageError: it would have more, as a line of pixels soon has.
    """
    from mmcv import imresize  # which takes seconds to import

    height, width = image.shape[:2]
    scale = size / min(height, width)
    wanted = round(width * scale), round(height * scale)
    if math.prod(wanted) > max_pixels:
        raise ImageError(f'has {width} x {height} pixels, and more than {max_pixels:,} once resized')
    return imresize(image, wanted, interpolation='area' if scale < 1 else 'bicubic')
