"""What recipes do to one image."""

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
        image: clean, uint8 RGB ``(H, W, 3)``.
        recipes: their names.
        draws: how many columns.
        seed: of the first column.

    Returns:
        Rows of (label, uint8 RGB ``(H, W, 3)``), each with the clean image first.

    Raises:
        ValueError: a recipe is unknown; the message lists those there are.
    """
    rows = []
    for name in recipes:
        degrade, row = build_degradation(name), [('clean', image)]
        for draw in range(seed, seed + draws):
            degraded = fit(degrade(image, make_generator(draw, name)), *image.shape[:2])
            row.append((f'{name}  {cv2.PSNR(degraded, image):.1f} dB', degraded))
        rows.append(row)
    return rows
