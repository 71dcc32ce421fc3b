"""Pictures too large for the memory: tiles that overlap and fade into one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hifacegan_plugin.archs.csr_form import DOWNSCALE


def restore_in_tiles(
    restore: Callable[[np.ndarray], np.ndarray], pictures: np.ndarray, size: int, overlap: int, margin: int = 0
) -> np.ndarray:
    """Restore ``pictures (N, C, H, W)`` tile by tile.

    Args:
        restore: maps pictures to pictures of the same shape.
        pictures: float32.
        size: side of a tile, at least ``2 * overlap``, a multiple of 32.
        overlap: pixels that neighbours share, a multiple of 32, over which their weights fall and rise linearly.
        margin: pixels at both ends of an overlap in which a tile counts nothing, because it ends there.
    """
    out = np.zeros_like(pictures)
    for top, bottom, vertical in spans(pictures.shape[2], size, overlap, margin):
        for left, right, horizontal in spans(pictures.shape[3], size, overlap, margin):
            tile = restore(np.ascontiguousarray(pictures[:, :, top:bottom, left:right]))
            out[:, :, top:bottom, left:right] += tile * (vertical[:, None] * horizontal)
    return out


def spans(length: int, size: int, overlap: int, margin: int = 0) -> Iterator[tuple[int, int, np.ndarray]]:
    """Cover ``length`` pixels by spans of up to ``size``: start, stop and weights that add up to 1 everywhere.

    They start at multiples of 32, where the scales of the network fall on the same pixels as in the whole picture.
    """
    count = max(-(-(length - overlap) // (size - overlap)), 1)
    step = max(-(-(length - overlap) // (count * DOWNSCALE)) * DOWNSCALE, overlap)
    cuts = [*range(0, max(length - overlap, 1), step), length - overlap]
    ramp = ((np.arange(overlap, dtype=np.float32) + 0.5 - margin) / (overlap - 2 * margin)).clip(0, 1)
    for i in range(len(cuts) - 1):
        start, stop = cuts[i], cuts[i + 1] + overlap
        weights = np.ones(stop - start, np.float32)
        if i > 0:
            weights[:overlap] = ramp
        if i < len(cuts) - 2:
            weights[-overlap:] = 1 - ramp
        yield start, stop, weights
