"""The pictures that metrics are given: the host's BGR arrays in [0, 255], checked once for all metrics."""

from __future__ import annotations

import numpy as np
from basicsr.metrics.metric_util import reorder_image


def check_picture(img: np.ndarray, crop_border: int = 0, input_order: str = 'HWC') -> np.ndarray:
    """Bring a picture into the shape ``(H, W, C)``, without its border.

    Args:
        img: grey or BGR picture in [0, 255], ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``.
        crop_border: pixels left out along each edge.
        input_order: ``'HWC'`` or ``'CHW'``.

    Raises:
        ValueError: neither one nor three channels, nothing left inside the border, NaN or infinite values.
    """
    picture = reorder_image(img, input_order)
    if picture.ndim != 3 or picture.shape[2] not in (1, 3):
        raise ValueError(f'a metric needs a grey or BGR picture, got {img.shape} (input_order {input_order!r})')
    height, width = picture.shape[:2]
    if not 0 <= 2 * crop_border < min(height, width):
        raise ValueError(f'crop_border {crop_border} leaves nothing of a picture of {height}x{width}')
    picture = picture[crop_border:height - crop_border, crop_border:width - crop_border]
    if not np.isfinite(picture).all():
        raise ValueError(f'a picture of {height}x{width} holds NaN or infinite values')
    return picture


def check_pair(img: np.ndarray, img2: np.ndarray, crop_border: int = 0,
               input_order: str = 'HWC') -> tuple[np.ndarray, np.ndarray]:
    """Apply :func:`check_picture` to two pictures, which must be of one shape (ValueError)."""
    if img.shape != img2.shape:
        raise ValueError(f'a metric needs two pictures of one shape, got {img.shape} and {img2.shape}')
    return check_picture(img, crop_border, input_order), check_picture(img2, crop_border, input_order)


def bgr_to_rgb(picture: np.ndarray) -> np.ndarray:
    """Turn a checked ``(H, W, 1 or 3)`` picture into contiguous RGB ``(H, W, 3)``; grey goes to all three channels."""
    return np.ascontiguousarray(np.broadcast_to(picture[..., ::-1], (*picture.shape[:2], 3)))
