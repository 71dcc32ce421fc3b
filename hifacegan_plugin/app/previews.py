"""Previews for the page: of limited size and in formats that browsers can show."""

from __future__ import annotations

import sys
from pathlib import Path

from hifacegan_plugin.app.jobs import Outcome
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph
from hifacegan_plugin.images.resizing import fit

LONGEST_SIDE = 4096  # pixels; photographs of 12 megapixels are not downsized


def write_previews(outcome: Outcome, max_pixels: int) -> tuple[str, str]:
    """Write previews of an image and its result into ``previews``, next to the folder of the result.

    Both previews have the size of the result, downsized to ``LONGEST_SIDE`` if necessary.

    Returns:
        The paths of the previews before and after.

    Raises:
        ImageError: a preview cannot be written.
    """
    assert outcome.target is not None  # the page shows only images that were restored
    before = read_photograph(outcome.source, max_pixels)
    after = read_photograph(outcome.target, sys.maxsize)  # the network may have enlarged the image
    height, width = after.pixels.shape[:2]
    scale = min(LONGEST_SIDE / max(height, width), 1)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    stem = outcome.target.parents[1] / 'previews' / outcome.target.name
    return _write_preview(before, size, f'{stem} before'), _write_preview(after, size, f'{stem} after')


def _write_preview(photograph: Photograph, size: tuple[int, int], stem: str) -> str:
    """Write a PNG if the image has an alpha channel or colour chunks, which JPEG cannot store, otherwise a JPEG."""
    pixels = fit(photograph.pixels, *size)
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    preview = stem + ('.png' if has_alpha or photograph.colour_chunks else '.jpg')
    write_photograph(Path(preview), photograph.in_same_colours(pixels))
    return preview
