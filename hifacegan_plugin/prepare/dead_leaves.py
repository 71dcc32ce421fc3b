"""Dead leaves: images drawn at random that have the edges, scales and occlusions of photographs.

Added to a few photographs, they teach a network colours and edges that the photographs lack. A network trained only on
them draws leaves into its results. They are free to make and to use.

Sources: Lee, Mumford, Huang, "Occlusion models for natural images", IJCV 2001 (the model; sizes fall with the third
power); Achddou, Gousseau, Ladjal, "Synthetic images as a regularity prior for image restoration neural networks",
SSVM 2021 (training with them).
"""

from __future__ import annotations

import cv2
import numpy as np

LEAVES = 8000
RADII = (4, 200)  # pixels
OVERSAMPLING = 2  # leaves are drawn so many times larger and averaged, which smooths their edges


def draw_dead_leaves(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ellipses and rectangles of all sizes and colours over one another.

    Args:
        side: height and width in pixels.
        rng: what the image is a function of.

    Returns:
        uint8 RGB ``(side, side, 3)``.
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
    """Draw an RGB colour: any hue, grey more often than vivid, light as often as dark."""
    hsv = [rng.uniform(0, 180), 255 * rng.beta(1.2, 2.5), 255 * rng.beta(1.3, 1.3)]  # ranges of OpenCV
    return tuple(cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist())
