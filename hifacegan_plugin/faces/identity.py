"""Face embeddings with dlib, which the paper's metric FED compares.

dlib's residual network maps a face to 128 numbers. It was trained so that two images of the same person are less than
0.6 apart (King, "High quality face recognition with deep metric learning", dlib's blog, 2017).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from hifacegan_plugin.faces.dlib_models import model_path, require_dlib
from hifacegan_plugin.faces.landmarks import box_in_crop, load_model, rectangle

if TYPE_CHECKING:
    import dlib


def embed(rgb: np.ndarray, box: dlib.rectangle) -> np.ndarray:
    """Return the embedding ``(128,)`` of the face in a box, aligned by its 5 landmarks.

    Args:
        rgb: uint8 ``(H, W, 3)``.
        box: box of the detector in pixels.

    Raises:
        FaceModelsMissingError: dlib or a model file is missing.
    """
    landmarks = load_model('5')(rgb, box)
    return np.array(load_embedding().compute_face_descriptor(rgb, landmarks))


def embed_crop(crop: np.ndarray) -> np.ndarray:
    """Return the embedding ``(128,)`` of the face of an aligned crop, uint8 RGB ``(side, side, 3)``.

    This needs no detection, so even a strongly degraded face has an embedding.

    Raises:
        FaceModelsMissingError: dlib or a model file is missing.
    """
    return embed(crop, rectangle(box_in_crop(len(crop))))


@functools.cache
def load_embedding() -> dlib.face_recognition_model_v1:
    """Load the network once.

    Raises:
        FaceModelsMissingError: dlib or the file is missing.
    """
    return require_dlib().face_recognition_model_v1(model_path('dlib_face_recognition_resnet_model_v1.dat'))
