"""Degradations: steps in a registry, combined to recipes.

    >>> degrade = build_degradation('full')
    >>> lq = degrade(image, make_generator(0, 'face'))

Images are uint8 RGB ``(H, W, 3)``. The same image, recipe and generator yield the same bytes on every machine.
Importing this module imports neither the host nor mmcv.
"""

import numpy as np

from hifacegan_plugin.data.degradations import blur, colour, compression, geometry, noise, resample, weather
from hifacegan_plugin.data.degradations.compose import Recipe, build_degradation
from hifacegan_plugin.data.degradations.recipes import RECIPES
from hifacegan_plugin.data.degradations.registry import DEGRADATIONS, Step
from hifacegan_plugin.data.degradations.seeding import make_generator
from hifacegan_plugin.images.resizing import fit

__all__ = [
    'DEGRADATIONS',
    'RECIPES',
    'Recipe',
    'Step',
    'blur',
    'build_degradation',
    'colour',
    'compression',
    'fit',
    'geometry',
    'make_generator',
    'noise',
    'resample',
    'weather',
]

# Every step frees an image and allocates another one. glibc returns freed blocks of this size to the system and then
# maps them again page by page, which takes a sixth of the time of 'full'. After a larger block was allocated and freed,
# glibc keeps blocks of this size (mallopt(3), M_MMAP_THRESHOLD).
np.empty(31 << 20, np.uint8)
