"""Restore photographs with faces: each face as an aligned crop by one network, the rest by another network.

HiFaceGAN itself needs no face detection, but a network trained on aligned faces of one size works best on such crops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hifacegan_plugin.faces.alignment import cut
from hifacegan_plugin.faces.finding import Face, find_faces, load_detector
from hifacegan_plugin.faces.identity import embed_crop, load_embedding
from hifacegan_plugin.faces.landmarks import Model, load_model
from hifacegan_plugin.faces.pasting import paste
from hifacegan_plugin.images.decoding import as_8_bit_bgr
from hifacegan_plugin.images.photograph_files import check_pixels
from hifacegan_plugin.restore.blending import blend

# The 68-landmark model, not for commercial use, is no better here: 5 points are enough for FFHQ's square.
LANDMARKS: Model = '5'
SIDE = 512  # of the crops that the packaged network and the paper's were trained on
# Measured on 23 portraits of the training set, degraded by the recipe gfpgan and restored by the packaged network: 99 %
# change by a distance of 0.40 or less; 1 % of pairs of different portraits are closer than 0.37, and 5 % closer than
# 0.52 (benchmarks/face_identity.py).
IDENTITY_LIMIT = 0.45
_STRENGTH_STEPS = 10  # from full strength to 0, for keep_identity


@dataclass(frozen=True)
class FaceOptions:
    """Which faces are restored, and how.

    Attributes:
        only: restore at most this number of faces, the largest first; None: all.
        min_face: side in pixels of the smallest face square to restore, about four times the distance between the eyes.
        side: side in pixels of the aligned crops that the network gets.
        strength: from 0 (the input) to 1 (the restored image); for faces and background.
        keep_identity: lower the strength of a face until its identity distance is at most :data:`IDENTITY_LIMIT`.

    Raises:
        ValueError: a number of faces or pixels is less than 1, or the strength is not from 0 to 1.
    """

    only: int | None = None
    min_face: int = 128
    side: int = SIDE
    strength: float = 1.0
    keep_identity: bool = False

    def __post_init__(self) -> None:
        for name in ('only', 'min_face', 'side'):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f'{name} {number}: expected 1 or more')
        if not 0 <= self.strength <= 1:
            raise ValueError(f'strength {self.strength}: expected 0 to 1')


@dataclass(frozen=True)
class RestoredFace:
    """A face of a photograph, before and after restoration.

    Attributes:
        face: landmarks and square in the photograph.
        before: the aligned crop, ``(side, side)`` grey or ``(side, side, 3)`` RGB, of the photograph's type.
        after: the crop that was pasted back, in the same form; larger if the network upscales.
        identity_distance: distance of the embeddings of both crops, from 0; see :data:`IDENTITY_LIMIT`.
        strength: the strength used, from 0 to 1.
    """

    face: Face
    before: np.ndarray
    after: np.ndarray
    identity_distance: float
    strength: float

    @property
    def exceeds_identity_limit(self) -> bool:
        """Whether the face may look like another person now."""
        return self.identity_distance > IDENTITY_LIMIT


def restore_faces(
    image: np.ndarray,
    restore: Callable[[np.ndarray], np.ndarray],
    background: Callable[[np.ndarray], np.ndarray] | None = None,
    options: FaceOptions = FaceOptions(),
) -> tuple[np.ndarray, list[RestoredFace]]:
    """Restore the faces of a photograph by one network and the rest by another.

    Args:
        image: upright, uint8 or uint16: ``(H, W)`` or ``(H, W, 1)`` grey, ``(H, W, 2)`` grey and alpha, ``(H, W, 3)``
            RGB or ``(H, W, 4)`` RGBA.
        restore: maps an aligned crop ``(side, side)`` or ``(side, side, 3)`` to the same or to a larger one, such as
            ``Restorer('faces')``.
        background: maps the whole image in the same way, such as ``Restorer('general')``; None keeps the input.
        options: which faces, and how.

    Returns:
        The photograph, of the same type and of the size that ``background`` returns, and its faces, the largest first.
        If the detector finds no face, the whole image is background. Alpha comes from the background.

    Raises:
        FaceModelsMissingError: dlib or a model file is missing.
        TypeError: the image is not an array.
        ValueError: the array has another dtype or shape.
    """
    check_pixels(image)
    colours = _colours(image)
    found = find_faces(_as_8_bit_rgb(colours), options.min_face, LANDMARKS)
    large = [face for face in found if face.square.side >= options.min_face]
    faces = [_restore_one(colours, face, restore, options) for face in large[: options.only]]
    restored = (image if background is None else blend(image, background(image), options.strength)).copy()
    times = restored.shape[0] / image.shape[0]
    for face in faces:  # largest first, so that small faces cover the margins of large ones
        paste(_colours(restored), face.after, face.face.square.enlarged(times))
    return restored, faces


def load_models() -> None:
    """Load the face models once, for this process and its forked children.

    Raises:
        FaceModelsMissingError: dlib or a model file is missing.
    """
    load_detector()
    load_model(LANDMARKS)
    load_embedding()


def _restore_one(
    colours: np.ndarray, face: Face, restore: Callable[[np.ndarray], np.ndarray], options: FaceOptions
) -> RestoredFace:
    before = cut(colours, face.square, options.side)
    restored = restore(before)
    embedding = embed_crop(_as_8_bit_rgb(before))
    for strength in np.linspace(options.strength, 0, _STRENGTH_STEPS + 1).tolist():
        after = blend(before, restored, strength)
        distance = float(np.linalg.norm(embed_crop(_as_8_bit_rgb(after)) - embedding))
        if distance <= IDENTITY_LIMIT or not options.keep_identity:
            break
    return RestoredFace(face, before, after, distance, strength)


def _colours(image: np.ndarray) -> np.ndarray:
    """Return ``(H, W)`` grey or ``(H, W, 3)`` RGB, a view where it can be one."""
    if image.ndim == 2:
        return image
    return image[..., 0] if image.shape[2] < 3 else image[..., :3]


def _as_8_bit_rgb(colours: np.ndarray) -> np.ndarray:
    """Return uint8 ``(H, W, 3)``."""
    return np.ascontiguousarray(as_8_bit_bgr(colours))  # which keeps the order of the channels
