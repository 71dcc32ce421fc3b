"""Random generators for the degradations of single images."""

from __future__ import annotations

import zlib

import numpy as np


def make_generator(seed: int, *key: int | str) -> np.random.Generator:
    """Return the generator for one image.

    Args:
        seed: seed of the data set, >= 0.
        *key: identifies the image or the draw: its name, or epoch and index.

    Returns:
        A generator that depends only on the arguments; different keys give independent streams. It uses SFC64, because
        numpy may change its default algorithm.
    """
    entropy = [seed, *(zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key)]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))
