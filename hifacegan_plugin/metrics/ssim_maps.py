"""SSIM maps, the means of which are SSIM and MS-SSIM (Wang et al., IEEE Trans. Image Processing 2004)."""

from __future__ import annotations

import cv2
import numpy as np

WINDOW = 11  # pixels
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


def ssim_maps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return SSIM and its contrast-structure term for every pixel with a whole window in the image.

    Args:
        x: float64 ``(H, W)`` in [0, 255].
        y: float64 ``(H, W)`` in [0, 255].

    Returns:
        Two maps ``(H - 10, W - 10)``, at most 1.
    """
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    var_x = _window_mean(x * x) - mean_x**2
    var_y = _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    contrast_structure = (2 * covariance + C2) / (var_x + var_y + C2)
    return luminance * contrast_structure, contrast_structure


def mean_over(ssim_map: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the weighted mean of a map.

    Args:
        ssim_map: map of :func:`ssim_maps`, ``(H - 10, W - 10)``.
        weights: non-negative weights of the pixels of the image, ``(H, W)``; None for equal weights.

    Raises:
        ValueError: all weights inside the border are 0.
    """
    if weights is None:
        return float(ssim_map.mean())
    inside = _without_border(weights)
    if not inside.any():
        raise ValueError('no pixel of the region has a whole SSIM window in the image')
    return float(np.average(ssim_map, weights=inside))


def _window_mean(values: np.ndarray) -> np.ndarray:
    return _without_border(cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA))


def _without_border(values: np.ndarray) -> np.ndarray:
    border = WINDOW // 2
    return values[border:-border, border:-border]
