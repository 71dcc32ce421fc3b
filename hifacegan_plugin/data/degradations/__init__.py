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

# Every step frees an image and takes memory for the next. glibc gives freed blocks of that size back to the system
# and gets them again page by page, a sixth of the time of 'full'; once it has seen a larger block come and go, it
# keeps them (mallopt(3), M_MMAP_THRESHOLD).
np.empty(31 << 20, np.uint8)
