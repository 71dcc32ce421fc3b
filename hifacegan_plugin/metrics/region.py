"""Metrics of a region of the image: the faces of the ground truth, or the background.

A face is the convex hull of dlib's 68 landmarks, which reaches from the chin to the eyebrows, widened by
:data:`MARGIN`. The region ``face`` contains all faces of an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import cv2
import numpy as np
from basicsr.metrics import calculate_psnr
from basicsr.metrics.metric_util import to_y_channel

from hifacegan_plugin.metrics.face import measure_faces
from hifacegan_plugin.metrics.inputs import check_image, check_mask, check_pair
from hifacegan_plugin.metrics.msssim import calculate_msssim
from hifacegan_plugin.metrics.ssim_maps import mean_over, ssim_maps
from hifacegan_plugin.schema.problem import Problem

Region = Literal['face', 'background']
REGIONS: tuple[Region, ...] = get_args(Region)
MASK = 'mask'  # argument of the functions in REGION_METRICS
NO_FACE = 'no face is found in the ground truth'
MARGIN = 0.3  # width added around the hull, in distances between the centres of the eyes
EYES = slice(36, 42), slice(42, 48)  # indices of the landmarks of each eye


def region_mask(truth: np.ndarray, region: Region) -> np.ndarray | None:
    """Return the mask of a region.

    Args:
        truth: ground truth, uint8 BGR ``(H, W, 3)`` or grey ``(H, W)``.
        region: ``face``, or its complement ``background``.

    Returns:
        bool ``(H, W)``, or None if no face is found.

    Raises:
        MetricUnavailableError: dlib or its models are not installed.
    """
    faces = measure_faces(check_image(truth))
    if not faces:
        return None
    mask = np.any([_mask_around(face.landmarks, truth.shape[:2]) for face in faces], axis=0)
    return mask if region == 'face' else ~mask


def region_psnr(
    img: np.ndarray,
    img2: np.ndarray,
    mask: np.ndarray,
    crop_border: int = 0,
    input_order: str = 'HWC',
    test_y_channel: bool = False,
) -> float:
    """Return the host's PSNR over the pixels of a region in dB, higher is better; infinite if they are equal.

    Args:
        img: restored image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``.
        img2: ground truth of the same shape.
        mask: mask of the region, bool ``(H, W)``.
        crop_border: pixels to crop at each edge.
        input_order: ``'HWC'`` or ``'CHW'``.
        test_y_channel: measure only the Y channel of YCbCr.

    Raises:
        ValueError: the images differ in shape, or the region is empty.
    """
    img, img2 = check_pair(img, img2, crop_border, input_order)
    mask = check_mask(mask, img, crop_border)
    return calculate_psnr(img[mask][None], img2[mask][None], crop_border=0, test_y_channel=test_y_channel)


def region_ssim(
    img: np.ndarray,
    img2: np.ndarray,
    mask: np.ndarray,
    crop_border: int = 0,
    input_order: str = 'HWC',
    test_y_channel: bool = False,
) -> float:
    """Return the mean of the host's SSIM map over a region, in [-1, 1], higher is better.

    The map has a value for each pixel with a whole 11x11 window in the image. Windows may reach beyond the region.

    For arguments and errors, see :func:`region_psnr`.
    """
    img, img2 = check_pair(img, img2, crop_border, input_order)
    weights = check_mask(mask, img, crop_border).astype(np.float64)
    if test_y_channel:
        img, img2 = to_y_channel(img), to_y_channel(img2)
    img, img2 = img.astype(np.float64), img2.astype(np.float64)
    maps = [ssim_maps(img[..., channel], img2[..., channel])[0] for channel in range(img.shape[2])]
    return float(np.mean([mean_over(each, weights) for each in maps]))


FACE_METRICS = ('calculate_fed', 'calculate_lle')
# Functions that measure a region, by the name of the registered function for the whole image.
REGION_METRICS: dict[str, Callable[..., float]] = {
    'calculate_psnr': region_psnr,
    'calculate_ssim': region_ssim,
    'calculate_msssim': calculate_msssim,
}


def region_metric(kind: str, region: Region) -> Callable[..., float]:
    """Return a metric function that measures only a region, and returns NaN if no face is found.

    Args:
        kind: metric, a key of :data:`REGION_METRICS`.
        region: part of the image.
    """
    function = REGION_METRICS[kind]

    def measure(img: np.ndarray, img2: np.ndarray, **options: Any) -> float:
        mask = region_mask(img2, region)
        return math.nan if mask is None else function(img, img2, mask=mask, **options)

    return measure


def problem_of_region(where: str, kind: str, region: object) -> Problem | None:
    """Return the problem with the region of a registered metric, or None."""
    if region not in REGIONS:
        return Problem(f'{where}: region: give face or background, not {region!r}.', 'correct it')
    if kind in REGION_METRICS:
        return None
    what = 'the face' if kind in FACE_METRICS else 'the whole image'
    fix = f'remove region, or use {", ".join(REGION_METRICS)}'
    return Problem(f'{where}: {kind} always measures {what} and takes no region.', fix)


def _mask_around(landmarks: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the mask of all pixels within the margin around the hull of a face's landmarks ``(68, 2)``."""
    outside = np.ones(size, np.uint8)
    cv2.fillConvexPoly(outside, cv2.convexHull(landmarks.astype(np.int32)), 0)
    margin = MARGIN * math.dist(*(landmarks[eye].mean(0) for eye in EYES))
    return cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= margin
