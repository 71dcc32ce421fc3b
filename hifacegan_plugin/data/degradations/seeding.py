"""Where the randomness of an image comes from."""

from __future__ import annotations

import zlib

import numpy as np


def make_generator(seed: int, *key: int | str) -> np.random.Generator:
    """Return the generator for one image.

    Args:
        seed: of the whole data set, >= 0.
        *key: what tells this image (or this draw of it) from the others: its name, or epoch and index.

    Returns:
        A generator that depends on nothing else; different keys give independent streams. Its algorithm (SFC64) is
        named here because numpy may change its default.
    """
    entropy = [seed, *(zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key)]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))
