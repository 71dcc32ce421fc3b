"""Contact sheets: images in rows, each below its label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

LABEL_HEIGHT = 24  # pixels above each image of a row with labels
MARGIN = 6  # pixels to the right of each image and below it
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_sheet(rows: Iterable[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
    """Lay out rows of labelled images on white; the channel order (RGB or BGR) is that of the images.

    Args:
        rows: pairs of label and image; images are uint8 ``(H, W, 3)`` or grey ``(H, W)``, of any size. A row with empty
            labels only has no label line; a label wider than its image is drawn smaller.

    Returns:
        uint8 ``(h, w, 3)``.
    """
    drawn = [_draw_row(row) for row in rows]
    return np.vstack([_pad(row, row.shape[0], max(each.shape[1] for each in drawn)) for row in drawn])


def _draw_row(row: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    height = MARGIN + max(image.shape[0] for _, image in row)
    tiles = [_pad(image, height, image.shape[1] + MARGIN) for _, image in row]
    if any(label for label, _ in row):
        tiles = [np.vstack([_draw_label(label, tile.shape[1]), tile]) for (label, _), tile in zip(row, tiles)]
    return np.hstack(tiles)


def _draw_label(text: str, width: int) -> np.ndarray:
    line = np.full((LABEL_HEIGHT, width, 3), _WHITE, np.uint8)
    (text_width, _), _ = cv2.getTextSize(text, _FONT, 0.5, 1)
    size = 0.5 * min(1, (width - MARGIN - 4) / max(text_width, 1))
    return cv2.putText(line, text, (2, LABEL_HEIGHT - 8), _FONT, size, _BLACK, 1, cv2.LINE_AA)


def _pad(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pad an image with white at the bottom and right to this size, and convert grey to three equal channels."""
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    below, right = height - image.shape[0], width - image.shape[1]
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=_WHITE)
