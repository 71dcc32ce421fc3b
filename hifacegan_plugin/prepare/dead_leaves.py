"""Dead leaves: random synthetic images whose edges, scales and occlusions resemble those of photographs.

They add colours and edges to a small set of training photographs. A network trained only on dead leaves draws leaves
into its results. The images have no licence restrictions.

Sources: Lee, Mumford, Huang, "Occlusion models for natural images", IJCV 2001 (the model; the density of the radius is
proportional to radius^-3); Achddou, Gousseau, Ladjal, "Synthetic images as a regularity prior for image restoration
neural networks", SSVM 2021 (training on dead leaves).
"""

from __future__ import annotations

import cv2
import numpy as np

LEAVES = 8000
RADII = (4, 200)  # pixels
OVERSAMPLING = 2  # images are drawn larger by this factor and averaged, for smooth edges


def draw_dead_leaves(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw overlapping ellipses and rectangles of random sizes and colours.

    Args:
        side: height and width in pixels.
        rng: generator that determines the image.

    Returns:
        The image, ``(side, side, 3)``, uint8 RGB.
    """
    canvas = np.zeros((OVERSAMPLING * side, OVERSAMPLING * side, 3), np.uint8)
    largest, smallest = (radius**-2.0 for radius in RADII)
    for _ in range(LEAVES):
        radius = (largest - rng.random() * (largest - smallest)) ** -0.5  # density proportional to radius^-3
        sides = 2 * OVERSAMPLING * radius * rng.uniform(0.4, 1, 2)
        place = tuple(rng.uniform(0, OVERSAMPLING * side, 2)), tuple(sides), rng.uniform(0, 180)
        if rng.random() < 0.5:
            cv2.ellipse(canvas, place, draw_colour(rng), cv2.FILLED)
        else:
            cv2.fillConvexPoly(canvas, cv2.boxPoints(place).astype(np.int32), draw_colour(rng))
    return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)


def draw_colour(rng: np.random.Generator) -> tuple[int, ...]:
    """Return a random RGB colour of uniform hue; greyish colours are more frequent than vivid ones."""
    hsv = [rng.uniform(0, 180), 255 * rng.beta(1.2, 2.5), 255 * rng.beta(1.3, 1.3)]  # in OpenCV's ranges
    return tuple(cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist())
