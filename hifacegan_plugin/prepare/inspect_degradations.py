"""Degraded versions of one image: ``hifacegan inspect-degradations``."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from hifacegan_plugin.data.degradations import build_degradation, fit, make_generator


def degraded_rows(
    image: np.ndarray, recipes: Sequence[str], draws: int, seed: int
) -> list[list[tuple[str, np.ndarray]]]:
    """Degrade an image by each recipe.

    Args:
        image: clean image, ``(H, W, 3)``, uint8 RGB.
        recipes: names of the recipes.
        draws: number of degraded images per recipe.
        seed: seed of the first degraded image; the others use the following seeds.

    Returns:
        For each recipe, a row of labels and images ``(H, W, 3)``, uint8 RGB, that starts with the clean image.

    Raises:
        ValueError: a recipe is unknown.
    """
    rows = []
    for name in recipes:
        degrade, row = build_degradation(name), [('clean', image)]
        for draw in range(seed, seed + draws):
            degraded = fit(degrade(image, make_generator(draw, name)), *image.shape[:2])
            row.append((f'{name}  {cv2.PSNR(degraded, image):.1f} dB', degraded))
        rows.append(row)
    return rows
