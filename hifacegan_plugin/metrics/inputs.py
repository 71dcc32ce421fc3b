"""The images that metrics take: the host's BGR arrays in [0, 255], checked in one place for all metrics."""

from __future__ import annotations

import numpy as np
from basicsr.metrics.metric_util import reorder_image


def check_image(img: np.ndarray, crop_border: int = 0, input_order: str = 'HWC') -> np.ndarray:
    """Return an image in the shape ``(H, W, C)``, without its border.

    Args:
        img: grey or BGR image in [0, 255], ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``.
        crop_border: pixels left out along each edge.
        input_order: ``'HWC'`` or ``'CHW'``.

    Raises:
        ValueError: neither one nor three channels, nothing left inside the border, NaN or infinite values.
    """
    image = reorder_image(img, input_order)
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f'a metric needs a grey or BGR image, got {img.shape} (input_order {input_order!r})')
    height, width = image.shape[:2]
    if not 0 <= 2 * crop_border < min(height, width):
        raise ValueError(f'crop_border {crop_border} leaves nothing of an image of {height}x{width}')
    image = image[crop_border : height - crop_border, crop_border : width - crop_border]
    if not np.isfinite(image).all():
        raise ValueError(f'an image of {height}x{width} holds NaN or infinite values')
    return image


def check_pair(
    img: np.ndarray, img2: np.ndarray, crop_border: int = 0, input_order: str = 'HWC'
) -> tuple[np.ndarray, np.ndarray]:
    """Apply :func:`check_image` to two images, which must have the same shape (ValueError)."""
    if img.shape != img2.shape:
        raise ValueError(f'a metric needs two images of one shape, got {img.shape} and {img2.shape}')
    return check_image(img, crop_border, input_order), check_image(img2, crop_border, input_order)


def check_mask(mask: np.ndarray, image: np.ndarray, crop_border: int = 0) -> np.ndarray:
    """Return the mask of a region without its border.

    Args:
        mask: bool ``(H, W)``, of the image as it was before :func:`check_image`.
        image: what :func:`check_image` made of it.
        crop_border: that it was given.

    Raises:
        ValueError: the mask is of another size, or holds no pixel inside the border.
    """
    height, width = mask.shape
    mask = mask[crop_border : height - crop_border, crop_border : width - crop_border]
    if mask.shape != image.shape[:2]:
        raise ValueError(f'a mask of {height}x{width} is not that of an image of {image.shape[0]}x{image.shape[1]}')
    if not mask.any():
        raise ValueError('the region holds no pixel of the image')
    return mask


def bgr_to_rgb(image: np.ndarray) -> np.ndarray:
    """Return a checked ``(H, W, 1 or 3)`` image as contiguous RGB ``(H, W, 3)``; grey goes to all three channels."""
    return np.ascontiguousarray(np.broadcast_to(image[..., ::-1], (*image.shape[:2], 3)))
