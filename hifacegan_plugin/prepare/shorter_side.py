"""Resizing of the images of a data set."""

from __future__ import annotations

import math

import numpy as np

from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import MAX_PIXELS


def resize_shorter_side(image: np.ndarray, size: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Resize an image so that its shorter side has the length ``size``.

    Downsizing averages over areas; upsizing is bicubic.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, uint8 or uint16.
        size: length of the shorter side, in pixels.
        max_pixels: largest number of pixels of the result.

    Raises:
        ImageError: the result would have more pixels.
    """
    from mmcv import imresize  # takes seconds to import

    height, width = image.shape[:2]
    scale = size / min(height, width)
    new_size = round(width * scale), round(height * scale)
    if math.prod(new_size) > max_pixels:
        raise ImageError(f'has {width} x {height} pixels, and more than {max_pixels:,} once resized')
    return imresize(image, new_size, interpolation='area' if scale < 1 else 'bicubic')
