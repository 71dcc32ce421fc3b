"""Restore images that are too large for the memory in overlapping tiles, blended linearly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np


def restore_in_tiles(
    restore: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    *,
    multiple: int,
    size: int,
    overlap: int,
    margin: int = 0,
    scale: int = 1,
) -> np.ndarray:
    """Restore ``images (N, C, H, W)`` tile by tile.

    Args:
        restore: maps images to images ``scale`` times as high and wide.
        images: float32.
        multiple: starts, sizes and overlaps of tiles are multiples of this; the network pads images to it.
        size: side of a tile, at least ``2 * overlap``.
        overlap: pixels that neighbouring tiles share; the weights change linearly over them.
        margin: pixels at the border of a tile, within the overlap, that get weight 0.
        scale: upscaling factor of ``restore``; all other sizes are in pixels of the input.
    """
    count, channels, height, width = images.shape
    out = np.zeros((count, channels, scale * height, scale * width), images.dtype)
    for top, bottom, vertical in spans(images.shape[2], multiple, size, overlap, margin):
        for left, right, horizontal in spans(images.shape[3], multiple, size, overlap, margin):
            tile = restore(np.ascontiguousarray(images[:, :, top:bottom, left:right]))
            weights = vertical.repeat(scale)[:, None] * horizontal.repeat(scale)
            out[:, :, scale * top : scale * bottom, scale * left : scale * right] += tile * weights
    return out


def spans(
    length: int, multiple: int, size: int, overlap: int, margin: int = 0
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Cover ``length`` pixels by spans of up to ``size``: start, stop and weights, which add up to 1 everywhere.

    Spans start at multiples of ``multiple``, so that the network downsamples the same pixel grid as in the whole image.
    """
    count = max(-(-(length - overlap) // (size - overlap)), 1)
    step = max(-(-(length - overlap) // (count * multiple)) * multiple, overlap)
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
