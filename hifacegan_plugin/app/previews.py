"""Previews for the page, in a format that browsers read and of limited size."""

from __future__ import annotations

import sys
from pathlib import Path

from hifacegan_plugin.app.jobs import Outcome
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph
from hifacegan_plugin.images.resizing import fit

LONGEST_SIDE = 4096  # pixels; 12 megapixels are shown as they are


def write_previews(outcome: Outcome, max_pixels: int) -> tuple[str, str]:
    """Write previews of an image and its result into ``previews``, beside the folder of the result.

    Both have the size of the result, or a smaller one.

    Returns:
        The paths of both.

    Raises:
        ImageError: a preview cannot be written.
    """
    assert outcome.target is not None  # as of all that are restored
    before = read_photograph(outcome.source, max_pixels)
    after = read_photograph(outcome.target, sys.maxsize)  # a network may enlarge
    height, width = after.pixels.shape[:2]
    scale = min(LONGEST_SIDE / max(height, width), 1)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    stem = outcome.target.parents[1] / 'previews' / outcome.target.name
    return _write_preview(before, size, f'{stem} before'), _write_preview(after, size, f'{stem} after')


def _write_preview(photograph: Photograph, size: tuple[int, int], stem: str) -> str:
    """Write a PNG if the image has alpha or colour tags, which JPEG cannot hold, otherwise a JPEG."""
    pixels = fit(photograph.pixels, *size)
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    preview = stem + ('.png' if has_alpha or photograph.colour_chunks else '.jpg')
    write_photograph(Path(preview), photograph.in_same_colours(pixels))
    return preview
