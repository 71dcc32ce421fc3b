"""Face embedding distance and landmark localisation error, by dlib.

As in the paper's evaluation, which used the ``face_recognition`` library: dlib's HOG face detector on the image
enlarged once, 68 landmarks, and dlib's 128-d ResNet embedding of the face aligned by 5 landmarks. For 512x512 on one
core the HOG detector takes 0.2 s and dlib's convolutional one 10 s, and portraits need no better one.

The face of the ground truth is the one with the detector's highest score; that of the restored image is the one that
overlaps it most. Where either is not found the metric is NaN, which callers count and report.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hifacegan_plugin.faces.detection import load_detector
from hifacegan_plugin.faces.dlib_models import FaceModelsMissingError
from hifacegan_plugin.faces.identity import embed
from hifacegan_plugin.faces.landmarks import load_model
from hifacegan_plugin.metrics.inputs import bgr_to_rgb, check_pair
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

if TYPE_CHECKING:
    import dlib


class Face(NamedTuple):
    """One face found in an image."""

    box: dlib.rectangle
    landmarks: np.ndarray  # (68, 2), x and y in pixels
    embedding: np.ndarray  # (128,)


def calculate_fed(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int = 0,
    input_order: str = 'HWC',
    upsample: int = 1,
    better: str | None = None,
) -> float:
    """Return the face embedding distance, from 0, lower is better: Euclidean, of the two faces' 128-d embeddings.

    Yang et al., "HiFaceGAN", ACM MM 2020; embedding by dlib's ``dlib_face_recognition_resnet_model_v1``, trained so
    that two images of one person are less than 0.6 apart.

    Args:
        img: restored image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``.
        img2: ground truth, likewise.
        crop_border: pixels left out along each edge.
        input_order: ``'HWC'`` or ``'CHW'``.
        upsample: how often the image is doubled in size for the detector, which sees faces from about 80 pixels:
            1 finds those from about 40 pixels, 2 from about 20 at four times the cost.
        better: read by the host, which passes all options on; without effect here.

    Returns:
        The distance, or NaN where the face is not found in one of the images.

    Raises:
        MetricUnavailableError: dlib or its models are not installed.
        ValueError: the images differ in shape.
    """
    pair = _match_faces(*check_pair(img, img2, crop_border, input_order), upsample)
    return float(np.linalg.norm(pair[0].embedding - pair[1].embedding)) if pair else math.nan


def calculate_lle(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int = 0,
    input_order: str = 'HWC',
    upsample: int = 1,
    better: str | None = None,
) -> float:
    """Return the landmark localisation error in pixels, from 0, lower is better: mean distance over 68 landmarks.

    Yang et al., "HiFaceGAN", ACM MM 2020; landmarks by dlib's ``shape_predictor_68_face_landmarks``, which
    returns whole pixels. The error grows with the size of the image: compare at one size, 512x512 in the paper. The
    paper's own figures count the four points that both lips share twice.

    Arguments, return value and errors are those of :func:`calculate_fed`.
    """
    pair = _match_faces(*check_pair(img, img2, crop_border, input_order), upsample)
    return float(np.linalg.norm(pair[0].landmarks - pair[1].landmarks, axis=1).mean()) if pair else math.nan


def _match_faces(restored: np.ndarray, truth: np.ndarray, upsample: int) -> tuple[Face, Face] | None:
    """Find the main face of the ground truth in both images, ``(H, W, C)`` BGR."""
    true_faces, restored_faces = find_faces(truth, upsample), find_faces(restored, upsample)
    if not true_faces or not restored_faces:
        return None
    true_face = true_faces[0]
    restored_face = max(restored_faces, key=lambda face: _overlap(face.box, true_face.box))
    return (restored_face, true_face) if _overlap(restored_face.box, true_face.box) else None


def _overlap(box: dlib.rectangle, box2: dlib.rectangle) -> float:
    """Return the intersection over union."""
    common = box.intersect(box2).area()
    return common / (box.area() + box2.area() - common)


def find_faces(image: np.ndarray, upsample: int = 1) -> tuple[Face, ...]:
    """Find and describe all faces of a ``(H, W, C)`` BGR image, the highest score first."""
    rgb = np.clip(np.rint(bgr_to_rgb(image)), 0, 255).astype(np.uint8)
    return _analyse(rgb.tobytes(), rgb.shape, upsample)


@functools.lru_cache(maxsize=4)  # LLE measures the pair that FED has just measured
def _analyse(pixels: bytes, shape: tuple[int, int, int], upsample: int) -> tuple[Face, ...]:
    try:
        detector, landmarks = load_detector(), load_model('68')
        rgb = np.frombuffer(pixels, np.uint8).reshape(shape)
        boxes, scores, _ = detector.run(rgb, upsample, 0.0)
        faces = []
        for _, box in sorted(zip(scores, boxes), key=lambda found: -found[0]):
            points = np.array([(part.x, part.y) for part in landmarks(rgb, box).parts()])
            faces.append(Face(box, points, embed(rgb, box)))
    except FaceModelsMissingError as error:
        raise MetricUnavailableError(str(error)) from error
    return tuple(faces)
