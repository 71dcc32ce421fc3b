"""Blend an image with its restored version, by strength."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hifacegan_plugin.images.resizing import fit


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
