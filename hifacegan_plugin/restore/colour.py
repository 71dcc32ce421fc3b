"""Keep colours: replace the low frequencies of the result by those of the input."""

from __future__ import annotations

import cv2
import numpy as np

from hifacegan_plugin.images.resizing import fit

SIGMA = 16  # pixels, of the Gaussian that separates low from high frequencies; `mosaic16x` blocks keep the low ones


def keep_low_frequencies(restored: np.ndarray, images: np.ndarray) -> None:
    """Replace the low frequencies of restored images by those of their inputs, in place.

    The low frequencies are what a wide Gaussian passes: brightness, contrast over large areas, and colour casts. Detail
    is not changed. The mean of each channel becomes that of the input, because the Gaussian uses reflected borders,
    which preserve sums.

    Args:
        restored: float32 ``(N, C, H, W)``; changed.
        images: the inputs, of the same shape or smaller.
    """
    for image, result in zip(images, restored):
        for before, after in zip(image, result):
            difference = fit(before, *after.shape) - after
            after += cv2.GaussianBlur(difference, (0, 0), SIGMA, borderType=cv2.BORDER_REFLECT)
