"""Detect faces with dlib's detector on histograms of oriented gradients, which the paper uses for FED and LLE.

King, "Max-margin object detection", 2015. It finds faces that look at the camera or slightly to the side, are tilted by
up to about 30 degrees, and are completely inside the image. It does not find profiles.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from hifacegan_plugin.faces.dlib_models import require_dlib

if TYPE_CHECKING:
    import dlib

SMALLEST_BOX = 80  # pixels, the side of the window that the detector slides over the image
LARGEST_ENLARGEMENT = 4  # smaller faces have too few pixels to detect
# The detector shrinks the image in steps of 5/6 and often misses faces between two steps, so a second pass runs at this
# scale.
BETWEEN_STEPS = 0.8


class Detection(NamedTuple):
    """One face found in an image.

    Attributes:
        box: left, top, right and bottom in pixels; may reach beyond the image.
        score: confidence of the detector, from 0; a clear face has 1 to 3.
    """

    box: tuple[float, float, float, float]
    score: float


def detect(rgb: np.ndarray, smallest: float = SMALLEST_BOX) -> list[Detection]:
    """Detect the faces of an image, in order of decreasing confidence.

    Args:
        rgb: uint8 ``(H, W, 3)``.
        smallest: side in pixels of the smallest box to find; the time grows with its inverse square.

    Raises:
        FaceModelsMissingError: dlib is missing.
    """
    scale = min(SMALLEST_BOX / smallest, LARGEST_ENLARGEMENT)
    return _detect_at(rgb, scale) or _detect_at(rgb, scale * BETWEEN_STEPS)


def _detect_at(rgb: np.ndarray, scale: float) -> list[Detection]:
    height, width = rgb.shape[:2]
    scaled = max(1, round(width * scale)), max(1, round(height * scale))
    if scaled != (width, height):
        rgb = cv2.resize(rgb, scaled, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    boxes, scores, _ = load_detector().run(np.ascontiguousarray(rgb), 0, 0.0)
    across, down = width / scaled[0], height / scaled[1]
    found = (
        Detection((box.left() * across, box.top() * down, (box.right() + 1) * across, (box.bottom() + 1) * down), score)
        for box, score in zip(boxes, scores)
    )
    return sorted(found, key=lambda detection: -detection.score)


@functools.cache
def load_detector() -> dlib.fhog_object_detector:
    """Load the detector once.

    Raises:
        FaceModelsMissingError: dlib is missing.
    """
    return require_dlib().get_frontal_face_detector()
