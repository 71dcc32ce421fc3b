"""Keeping colours: low frequencies of the result are replaced by those of the input."""

from __future__ import annotations

import cv2
import numpy as np

from hifacegan_plugin.images.resizing import fit

SIGMA = 16  # pixels, of the Gaussian that divides low from high frequencies; blocks of `mosaic16x` keep what is lower


def keep_low_frequencies(restored: np.ndarray, images: np.ndarray) -> None:
    """Replace the low frequencies of restored images, which pass a wide Gaussian, by those of their inputs, in place.

    Brightness, contrast over large areas and casts become those of the input; detail stays. The mean of each channel
    becomes the input's, because the Gaussian is reflected at the borders and so keeps sums.

    Args:
        restored: float32 ``(N, C, H, W)``; changed.
        images: what it was restored from, of the same shape or smaller.
    """
    for image, result in zip(images, restored):
        for before, after in zip(image, result):
            difference = fit(before, *after.shape) - after
            after += cv2.GaussianBlur(difference, (0, 0), SIGMA, borderType=cv2.BORDER_REFLECT)
