"""Check the inputs of metrics: BGR arrays in [0, 255], as in the host."""

from __future__ import annotations

import numpy as np
from basicsr.metrics.metric_util import reorder_image


def check_image(img: np.ndarray, crop_border: int = 0, input_order: str = 'HWC') -> np.ndarray:
    """Check an image and return it as ``(H, W, C)``, without its border.

    Args:
        img: grey or BGR image in [0, 255], ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``.
        crop_border: pixels to crop at each edge.
        input_order: ``'HWC'`` or ``'CHW'``.

    Raises:
        ValueError: the image has neither one nor three channels, is too small for the border, or is not finite.
    """
    image = reorder_image(img, input_order)
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f'a metric needs a grey or BGR image, got {img.shape} (input_order {input_order!r})')
    height, width = image.shape[:2]
    if not 0 <= 2 * crop_border < min(height, width):
        raise ValueError(f'crop_border {crop_border} leaves nothing of an image of {height}x{width}')
    image = image[crop_border : height - crop_border, crop_border : width - crop_border]
    if not np.isfinite(image).all():
        raise ValueError(f'an image of {height}x{width} has NaN or infinite values')
    return image


def check_pair(
    img: np.ndarray, img2: np.ndarray, crop_border: int = 0, input_order: str = 'HWC'
) -> tuple[np.ndarray, np.ndarray]:
    """Apply :func:`check_image` to two images; raise a ValueError if their shapes differ."""
    if img.shape != img2.shape:
        raise ValueError(f'a metric needs two images of one shape, got {img.shape} and {img2.shape}')
    return check_image(img, crop_border, input_order), check_image(img2, crop_border, input_order)


def check_mask(mask: np.ndarray, image: np.ndarray, crop_border: int = 0) -> np.ndarray:
    """Check the mask of a region and return it without its border.

    Args:
        mask: bool ``(H, W)``, before cropping.
        image: image returned by :func:`check_image`.
        crop_border: pixels cropped from the image at each edge.

    Raises:
        ValueError: the mask has another size than the image, or is empty.
    """
    height, width = mask.shape
    mask = mask[crop_border : height - crop_border, crop_border : width - crop_border]
    if mask.shape != image.shape[:2]:
        raise ValueError(f'a mask of {height}x{width} does not fit an image of {image.shape[0]}x{image.shape[1]}')
    if not mask.any():
        raise ValueError('the region is empty')
    return mask


def bgr_to_rgb(image: np.ndarray) -> np.ndarray:
    """Convert ``(H, W, 1 or 3)`` to contiguous RGB ``(H, W, 3)``; a grey channel is repeated."""
    return np.ascontiguousarray(np.broadcast_to(image[..., ::-1], (*image.shape[:2], 3)))
