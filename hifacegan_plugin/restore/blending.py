"""Blend images with their restored versions: by strength, or by frequency, to keep the colours of the input."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from hifacegan_plugin.images.resizing import fit

SIGMA = 16  # pixels, of the Gaussian that separates low from high frequencies; `mosaic16x` blocks keep the low ones


def blend(image: np.ndarray, restored: np.ndarray, strength: float) -> np.ndarray:
    """Return ``image + strength * (restored - image)``, rounded.

    Args:
        image: uint8 or uint16; resized if the network has upscaled it.
        restored: of the same type and channels.
        strength: from 0 (the image) to 1 (the restored image).
    """
    if strength == 1:
        return restored
    image = fit(image, *restored.shape[:2])
    mixed = restored.astype(np.float32)
    mixed -= image
    mixed *= strength
    mixed += image
    return np.rint(mixed, out=mixed).astype(image.dtype)


def at_strength(restore: Callable[[np.ndarray], np.ndarray], strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return ``restore`` followed by :func:`blend` with its input."""
    return restore if strength == 1 else lambda image: blend(image, restore(image), strength)


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
