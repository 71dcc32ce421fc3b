"""Find the faces of an image: the position, landmarks and aligned square of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifacegan_plugin.faces.alignment import Square, ffhq_square
from hifacegan_plugin.faces.detection import detect
from hifacegan_plugin.faces.landmarks import Landmarks, Model, locate

# The side of FFHQ's square is 1.3 to 2 times that of the detector's box; the maximum avoids missing faces.
_SQUARE_TO_BOX = 2.0


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
        smallest: side in pixels of the smallest square to find; smaller ones may be returned, too.
        model: landmark model, see :func:`~hifacegan_plugin.faces.landmarks.locate`.

    Raises:
        FaceModelsMissingError: dlib or a model file is missing.
    """
    faces = []
    for detection in detect(rgb, smallest / _SQUARE_TO_BOX):
        landmarks = locate(rgb, detection.box, model)
        faces.append(Face(detection.score, landmarks, ffhq_square(landmarks.eyes, landmarks.mouth)))
    return sorted(faces, key=lambda face: -face.square.side)
