"""Pictures too large for the memory: tiles that overlap and fade into one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np


def restore_in_tiles(
    restore: Callable[[np.ndarray], np.ndarray], pictures: np.ndarray, size: int, overlap: int
) -> np.ndarray:
    """Restore ``pictures (N, C, H, W)`` tile by tile.

    Args:
        restore: maps pictures to pictures of the same shape.
        pictures: float32.
        size: side of a tile, at least ``2 * overlap``.
        overlap: pixels that neighbours share, over which their weights fall and rise linearly.
    """
    out = np.zeros_like(pictures)
    for top, bottom, vertical in spans(pictures.shape[2], size, overlap):
        for left, right, horizontal in spans(pictures.shape[3], size, overlap):
            tile = restore(np.ascontiguousarray(pictures[:, :, top:bottom, left:right]))
            out[:, :, top:bottom, left:right] += tile * (vertical[:, None] * horizontal)
    return out


def spans(length: int, size: int, overlap: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Cover ``length`` pixels by spans of up to ``size``: start, stop and weights that add up to 1 everywhere."""
    count = max(-(-(length - overlap) // (size - overlap)), 1)
    cuts = [round(i * (length - overlap) / count) for i in range(count + 1)]
    ramp = (np.arange(overlap, dtype=np.float32) + 0.5) / overlap
    for i in range(count):
        start, stop = cuts[i], cuts[i + 1] + overlap
        weights = np.ones(stop - start, np.float32)
        if i > 0:
            weights[:overlap] = ramp
        if i < count - 1:
            weights[-overlap:] = 1 - ramp
        yield start, stop, weights
