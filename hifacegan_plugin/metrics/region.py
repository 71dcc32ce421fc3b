"""Metrics of a part of the image: the faces of the ground truth, or everything else.

The paper's network uses no knowledge of faces and also restores the background; separate figures show how well. A face
is the hull of dlib's 68 landmarks, which reaches from the chin to the eyebrows, widened by :data:`MARGIN`.
In an image with several faces, the region ``face`` is all of them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import cv2
import numpy as np
from basicsr.metrics import calculate_psnr
from basicsr.metrics.metric_util import to_y_channel

from hifacegan_plugin.metrics.face import find_faces
from hifacegan_plugin.metrics.inputs import check_image, check_mask, check_pair
from hifacegan_plugin.metrics.msssim import calculate_msssim
from hifacegan_plugin.metrics.ssim_maps import mean_over, ssim_maps
from hifacegan_plugin.schema.problem import Problem

Region = Literal['face', 'background']
REGIONS: tuple[Region, ...] = get_args(Region)
MASK = 'mask'  # argument of what measures a region
NO_FACE = 'no face is found in the ground truth'
MARGIN = 0.3  # by which the hull is widened to all sides, in distances between the centres of the eyes
EYES = slice(36, 42), slice(42, 48)  # among the 68 landmarks

# The landmarks of every ground truth that was measured, by the digest of its pixels: 1 KB each. All metrics, all
# restorers and all validations of a process measure the same ones.
_landmarks: dict[bytes, list[np.ndarray]] = {}


def region_mask(truth: np.ndarray, region: Region) -> np.ndarray | None:
    """Return where the region of an image is.

    Args:
        truth: uint8, BGR ``(H, W, 3)`` or grey ``(H, W)``.
        region: ``face``, or ``background``, which is its complement.

    Returns:
        bool ``(H, W)``; None where no face is found.

    Raises:
        MetricUnavailableError: dlib or its models are not installed.
    """
    faces = _find_landmarks(truth)
    if not faces:
        return None
    mask = np.any([_face_mask(landmarks, truth.shape[:2]) for landmarks in faces], axis=0)
    return mask if region == 'face' else ~mask


def psnr_within(
    img: np.ndarray,
    img2: np.ndarray,
    mask: np.ndarray,
    crop_border: int = 0,
    input_order: str = 'HWC',
    test_y_channel: bool = False,
) -> float:
    """Return the host's PSNR of the pixels of a region in dB, higher is better; infinite for equal ones.

    Args:
        img: restored image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``.
        img2: ground truth, likewise.
        mask: bool ``(H, W)``.
        crop_border: pixels left out along each edge.
        input_order: ``'HWC'`` or ``'CHW'``.
        test_y_channel: measure the Y channel of YCbCr only.

    Raises:
        ValueError: the images differ in shape; the region holds no pixel.
    """
    img, img2 = check_pair(img, img2, crop_border, input_order)
    mask = check_mask(mask, img, crop_border)
    return calculate_psnr(img[mask][None], img2[mask][None], crop_border=0, test_y_channel=test_y_channel)


def ssim_within(
    img: np.ndarray,
    img2: np.ndarray,
    mask: np.ndarray,
    crop_border: int = 0,
    input_order: str = 'HWC',
    test_y_channel: bool = False,
) -> float:
    """Return the mean of the host's map of SSIM over a region, in [-1, 1], higher is better.

    The map has a value at each pixel with a whole 11x11 window in the image; the windows of pixels at the border of the
    region reach beyond it.

    Arguments and errors are those of :func:`psnr_within`.
    """
    img, img2 = check_pair(img, img2, crop_border, input_order)
    weights = check_mask(mask, img, crop_border).astype(np.float64)
    if test_y_channel:
        img, img2 = to_y_channel(img), to_y_channel(img2)
    img, img2 = img.astype(np.float64), img2.astype(np.float64)
    maps = [ssim_maps(img[..., channel], img2[..., channel])[0] for channel in range(img.shape[2])]
    return float(np.mean([mean_over(each, weights) for each in maps]))


OF_THE_FACE = ('calculate_fed', 'calculate_lle')
# What measures a region in place of the function that is registered for the whole image.
WITHIN: dict[str, Callable[..., float]] = {
    'calculate_psnr': psnr_within,
    'calculate_ssim': ssim_within,
    'calculate_msssim': calculate_msssim,
}


def measure_within(kind: str, region: Region) -> Callable[..., float]:
    """Return a function like that of a metric, which measures a region alone, and is NaN where there is no face.

    Args:
        kind: of the metric, one of :data:`WITHIN`.
        region: which part of the image.
    """
    function = WITHIN[kind]

    def measure(img: np.ndarray, img2: np.ndarray, **options: Any) -> float:
        mask = region_mask(img2, region)
        return math.nan if mask is None else function(img, img2, mask=mask, **options)

    return measure


def problem_of_region(where: str, kind: str, region: object) -> Problem | None:
    """Return what is wrong with the region of a metric, which is registered; None if nothing is."""
    if region not in REGIONS:
        return Problem(f'{where}: region: give face or background, not {region!r}.', 'correct it')
    if kind in WITHIN:
        return None
    what = 'the face in any case' if kind in OF_THE_FACE else 'the image as a whole'
    fix = f'take region out, or measure it by {", ".join(WITHIN)}'
    return Problem(f'{where}: {kind} measures {what}, and takes no region.', fix)


def _find_landmarks(truth: np.ndarray) -> list[np.ndarray]:
    digest = hashlib.sha256(f'{truth.shape}'.encode() + truth.tobytes()).digest()
    if digest not in _landmarks:
        _landmarks[digest] = [face.landmarks for face in find_faces(check_image(truth))]
    return _landmarks[digest]


def _face_mask(landmarks: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the pixels that are not further than the margin from the hull of a face's landmarks ``(68, 2)``."""
    outside = np.ones(size, np.uint8)
    cv2.fillConvexPoly(outside, cv2.convexHull(landmarks.astype(np.int32)), 0)
    margin = MARGIN * math.dist(*(landmarks[eye].mean(0) for eye in EYES))
    return cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= margin
