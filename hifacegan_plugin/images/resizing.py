"""Resize images with the same result on every machine."""

from __future__ import annotations

import cv2
import numpy as np

INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'linear': cv2.INTER_LINEAR,
    'cubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
    'lanczos': cv2.INTER_LANCZOS4,
}


def resize(image: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    """Resize an image, ``(H, W)`` or ``(H, W, C)``; of :data:`INTERPOLATIONS`, only ``area`` is antialiased."""
    used_ipp = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)  # for this thread: Intel's resize rounds differently from OpenCV's own
    try:
        resized = cv2.resize(image, (width, height), interpolation=INTERPOLATIONS[interpolation])
        return resized.reshape(height, width, *image.shape[2:])  # OpenCV drops a single channel
    finally:
        cv2.ipp.setUseIPP(used_ipp)


def fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image to this height and width: area interpolation to shrink, bicubic to enlarge."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return resize(image, height, width, 'area' if shrinks else 'cubic')
