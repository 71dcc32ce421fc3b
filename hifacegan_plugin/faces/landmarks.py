"""Locate eyes, nose and mouth of a face with dlib's ensembles of regression trees.

Kazemi and Sullivan, "One millisecond face alignment with an ensemble of regression trees", CVPR 2014. The result of the
trees depends on the detector's box, from which they start, and is rounded to whole pixels. To reduce this scatter, the
face is cut out upright at a fixed size by its first landmarks, the trees run again from several fixed boxes, and the
mean of their results is mapped back to the image. So the landmarks follow if the image is rotated, moved or resized.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from hifacegan_plugin.faces.alignment import apply, cut, ffhq_square, to_image
from hifacegan_plugin.faces.dlib_models import model_path, require_dlib

if TYPE_CHECKING:
    import dlib

Model = Literal['68', '5']
MODELS: tuple[Model, ...] = ('68', '5')

_ROUNDS = 2  # number of times that the face is cut out and located again
_SIDE = 512  # side of the upright crop in pixels
# The detector's box in a crop of FFHQ's square (median of 60 portraits), and shifted copies of it: the mean over
# several starts scatters half as much.
_BOX = (108, 159, 404, 461)
_BOXES = [
    (_BOX[0] + x, _BOX[1] + y, _BOX[2] + x, _BOX[3] + y) for x, y in ((0, 0), (10, 0), (-10, 0), (0, 10), (0, -10))
]
# Position of the mouth relative to the five points of the smaller model, measured on the same portraits.
_EYES_TO_MOUTH, _MOUTH_WIDTH = 1.34, 0.94  # in distances from eyes to nose, and from eye to eye
# Distance of the base of the nose from the frontal plane of the eyes, in eye distances, for an average head.
_NOSE_DEPTH = 0.37


class Landmarks(NamedTuple):
    """Landmarks of a face in pixels of the image; of a pair, the point on the left of an upright image comes first.

    Attributes:
        eyes: ``(2, 2)``, the centres of the eyes.
        nose: ``(2,)``, the base of the nose.
        mouth: ``(2, 2)``, the corners of the mouth.
    """

    eyes: np.ndarray
    nose: np.ndarray
    mouth: np.ndarray

    @property
    def eye_distance(self) -> float:
        """The distance between the centres of the eyes in pixels."""
        return math.hypot(*(self.eyes[1] - self.eyes[0]))

    @property
    def yaw(self) -> float:
        """An estimate of the face's rotation to the right of the image in degrees; 0 looks at the camera.

        It is computed from the offset of the nose from the midpoint of the eyes, for a head of average depth.
        """
        axis = (self.eyes[1] - self.eyes[0]) / self.eye_distance
        beside = (self.nose - self.eyes.mean(0)) @ axis / self.eye_distance
        return math.degrees(math.atan2(beside, _NOSE_DEPTH))


def locate(rgb: np.ndarray, box: tuple[float, float, float, float], model: Model = '68') -> Landmarks:
    """Find the landmarks of the face in a box.

    Args:
        rgb: uint8 ``(H, W, 3)``.
        box: left, top, right and bottom in pixels, from the detector.
        model: ``68`` landmarks, not for commercial use, or ``5``: eyes and nose, from which the mouth is estimated; see
            :mod:`hifacegan_plugin.faces.dlib_models`.

    Raises:
        FaceModelsMissingError: dlib or the model file is missing.
    """
    landmarks = _predict(rgb, box, model)
    for _ in range(_ROUNDS):
        square = ffhq_square(landmarks.eyes, landmarks.mouth)
        crop, transform = cut(rgb, square, _SIDE), to_image(square, _SIDE)
        starts = [_predict(crop, box, model) for box in _BOXES]
        landmarks = Landmarks(*(apply(transform, np.mean(points, axis=0)) for points in zip(*starts)))
    return landmarks


def box_in_crop(side: int) -> tuple[float, ...]:
    """Return the detector's typical box of the face in an aligned crop of ``side`` by ``side``."""
    return tuple(edge * side / _SIDE for edge in _BOX)


def rectangle(box: tuple[float, ...]) -> dlib.rectangle:
    """Convert a box (left, top, right and bottom) to dlib's rectangle."""
    left, top, right, bottom = map(round, box)
    return require_dlib().rectangle(left, top, right - 1, bottom - 1)


@functools.cache
def load_model(model: Model) -> dlib.shape_predictor:
    """Load a model file once.

    Raises:
        FaceModelsMissingError: dlib or the file is missing.
    """
    return require_dlib().shape_predictor(model_path(f'shape_predictor_{model}_face_landmarks.dat'))


def _predict(rgb: np.ndarray, box: tuple[float, float, float, float], model: Model) -> Landmarks:
    parts = load_model(model)(rgb, rectangle(box)).parts()
    points = np.array([(part.x, part.y) for part in parts], float)
    return _of_68(points) if model == '68' else _of_5(points)


def _of_68(points: np.ndarray) -> Landmarks:
    eyes = np.array([points[36:42].mean(0), points[42:48].mean(0)])
    return Landmarks(eyes, points[33], points[[48, 54]])


def _of_5(points: np.ndarray) -> Landmarks:
    """Convert dlib's 5 points: two corners of each eye, and the base of the nose."""
    eyes = np.array([points[2:4].mean(0), points[0:2].mean(0)])
    nose = points[4]
    middle = eyes.mean(0) + _EYES_TO_MOUTH * (nose - eyes.mean(0))
    half = _MOUTH_WIDTH / 2 * (eyes[1] - eyes[0])
    return Landmarks(eyes, nose, np.array([middle - half, middle + half]))
