"""Face embedding distance (FED) and landmark localisation error (LLE), with dlib.

Like the ``face_recognition`` library, which the paper used: dlib's HOG face detector on the image at twice its size, 68
landmarks, and dlib's 128-d ResNet embedding of the face aligned by 5 landmarks. On 512x512 pixels and one core, the HOG
detector takes 0.2 s and dlib's convolutional detector 10 s, which portraits do not need.

The face with the highest score in the ground truth is compared with the face of the restored image that overlaps it
most. If either is not found, the metric is NaN.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hifacegan_plugin.faces.dlib_models import FaceModelsMissingError
from hifacegan_plugin.faces.finding import load_detector
from hifacegan_plugin.faces.identity import embed
from hifacegan_plugin.faces.landmarks import load_model
from hifacegan_plugin.metrics.inputs import bgr_to_rgb, check_pair
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

if TYPE_CHECKING:
    import dlib


KEPT = 1 << 14  # images whose faces are kept, 2 KB a face

# Faces by digest of an image, the last used ones last. All metrics, restorers and validations of a process measure the
# same ground truth.
_kept: OrderedDict[bytes, list[MeasuredFace]] = OrderedDict()


class MeasuredFace(NamedTuple):
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
    """Return the face embedding distance: the Euclidean distance of 128-d face embeddings, from 0, lower is better.

    Yang et al., "HiFaceGAN", ACM MM 2020. The embedding is dlib's ``dlib_face_recognition_resnet_model_v1``, for which
    two images of one person are less than 0.6 apart.

    Args:
        img: restored image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``.
        img2: ground truth of the same shape.
        crop_border: pixels to crop at each edge.
        input_order: ``'HWC'`` or ``'CHW'``.
        upsample: number of times that the image is doubled in size for the detector. 0 finds faces from about 80
            pixels, 1 from 40, 2 from 20; each step takes four times as long.
        better: ignored; the host passes all options.

    Returns:
        The distance, or NaN if the face is not found in one of the images.

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
    """Return the landmark localisation error: the mean distance of 68 landmarks in pixels, from 0, lower is better.

    Yang et al., "HiFaceGAN", ACM MM 2020. The landmarks are those of dlib's ``shape_predictor_68_face_landmarks``, in
    whole pixels. The error grows with the image size, so compare at one size (512x512 in the paper). The paper counts
    the four points shared by both lips twice.

    For arguments, return value and errors, see :func:`calculate_fed`.
    """
    pair = _match_faces(*check_pair(img, img2, crop_border, input_order), upsample)
    return float(np.linalg.norm(pair[0].landmarks - pair[1].landmarks, axis=1).mean()) if pair else math.nan


def _match_faces(restored: np.ndarray, truth: np.ndarray, upsample: int) -> tuple[MeasuredFace, MeasuredFace] | None:
    """Find the main face of the ground truth in both images, ``(H, W, C)`` BGR."""
    true_faces, restored_faces = measure_faces(truth, upsample), measure_faces(restored, upsample)
    if not true_faces or not restored_faces:
        return None
    true_face = true_faces[0]
    restored_face = max(restored_faces, key=lambda face: _overlap(face.box, true_face.box))
    return (restored_face, true_face) if _overlap(restored_face.box, true_face.box) else None


def _overlap(box: dlib.rectangle, box2: dlib.rectangle) -> float:
    """Return the intersection over union."""
    common = box.intersect(box2).area()
    return common / (box.area() + box2.area() - common)


def measure_faces(image: np.ndarray, upsample: int = 1) -> list[MeasuredFace]:
    """Find and measure all faces of a BGR image ``(H, W, C)`` in [0, 255], the highest score first; keep the result.

    Raises:
        MetricUnavailableError: dlib or its models are not installed.
    """
    digest = hashlib.sha256(f'{image.shape} {image.dtype} {upsample}'.encode() + image.tobytes()).digest()
    if digest not in _kept:
        _kept[digest] = _measure(np.clip(np.rint(bgr_to_rgb(image)), 0, 255).astype(np.uint8), upsample)
        if len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(digest)
    return _kept[digest]


def _measure(rgb: np.ndarray, upsample: int) -> list[MeasuredFace]:
    try:
        detector, landmarks = load_detector(), load_model('68')
        boxes, scores, _ = detector.run(rgb, upsample, 0.0)
        faces = []
        for _, box in sorted(zip(scores, boxes), key=lambda found: -found[0]):
            points = np.array([(part.x, part.y) for part in landmarks(rgb, box).parts()])
            faces.append(MeasuredFace(box, points, embed(rgb, box)))
    except FaceModelsMissingError as error:
        raise MetricUnavailableError(str(error)) from error
    return faces
