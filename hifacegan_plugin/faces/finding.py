"""Find the faces of an image: the position, landmarks and aligned square of each.

The detector is dlib's, on histograms of oriented gradients, which the paper uses for FED and LLE (King, "Max-margin
object detection", 2015). It finds faces that look at the camera or slightly to the side, are tilted by up to about 30
degrees, and are completely inside the image. It does not find profiles.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from hifacegan_plugin.faces.alignment import Square, ffhq_square
from hifacegan_plugin.faces.dlib_models import require_dlib
from hifacegan_plugin.faces.landmarks import Landmarks, Model, locate

if TYPE_CHECKING:
    import dlib

WINDOW = 80  # pixels, the side of the window that the detector slides over the image
LARGEST_ENLARGEMENT = 4  # smaller faces have too few pixels to detect
# The detector shrinks the image in steps of 5/6 and often misses faces between two steps, so a second pass runs at this
# scale.
BETWEEN_STEPS = 0.8
# The side of FFHQ's square is 1.3 to 2 times that of the detector's box; the maximum avoids missing faces.
SQUARE_TO_BOX = 2.0


@dataclass(frozen=True)
class Face:
    """One face of an image.

    Attributes:
        score: confidence of the detector, from 0; a clear face has 1 to 3.
        landmarks: eyes, nose and mouth.
        square: square that FFHQ would cut out.
    """

    score: float
    landmarks: Landmarks
    square: Square


def find_faces(rgb: np.ndarray, smallest: float, model: Model = '68') -> list[Face]:
    """Find the faces of an image, the one with the largest square first.

    Args:
        rgb: uint8 ``(H, W, 3)``.
        smallest: side in pixels of the smallest square to find; smaller ones may be returned, too. The time grows with
            its inverse square.
        model: landmark model, see :func:`~hifacegan_plugin.faces.landmarks.locate`.

    Raises:
        FaceModelsMissingError: dlib or a model file is missing.
    """
    scale = min(WINDOW * SQUARE_TO_BOX / smallest, LARGEST_ENLARGEMENT)
    faces = []
    for box, score in _detect(rgb, scale) or _detect(rgb, scale * BETWEEN_STEPS):
        landmarks = locate(rgb, box, model)
        faces.append(Face(score, landmarks, ffhq_square(landmarks.eyes, landmarks.mouth)))
    return sorted(faces, key=lambda face: -face.square.side)


def _detect(rgb: np.ndarray, scale: float) -> list[tuple[tuple[float, float, float, float], float]]:
    """Detect faces in the image resized by ``scale``.

    Returns:
        The box of each face (left, top, right and bottom in pixels of ``rgb``; it may reach beyond the image), and the
        score of the detector, the highest score first.
    """
    height, width = rgb.shape[:2]
    scaled = max(1, round(width * scale)), max(1, round(height * scale))
    if scaled != (width, height):
        rgb = cv2.resize(rgb, scaled, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    boxes, scores, _ = load_detector().run(np.ascontiguousarray(rgb), 0, 0.0)
    across, down = width / scaled[0], height / scaled[1]
    found = (
        ((box.left() * across, box.top() * down, (box.right() + 1) * across, (box.bottom() + 1) * down), score)
        for box, score in zip(boxes, scores)
    )
    return sorted(found, key=lambda detected: -detected[1])


@functools.cache
def load_detector() -> dlib.fhog_object_detector:
    """Load the detector once.

    Raises:
        FaceModelsMissingError: dlib is missing.
    """
    return require_dlib().get_frontal_face_detector()
