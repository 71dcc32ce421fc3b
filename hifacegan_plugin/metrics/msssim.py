"""Multi-scale structural similarity."""

from __future__ import annotations

import cv2
import numpy as np
from basicsr.metrics.metric_util import to_y_channel

from hifacegan_plugin.metrics.inputs import check_pair

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


def calculate_msssim(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int = 0,
    input_order: str = 'HWC',
    test_y_channel: bool = False,
    scales: int = 5,
    better: str | None = None,
) -> float:
    """Return MS-SSIM, in [0, 1], higher is better, 1 for equal images.

    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", Asilomar 2003, eq. (7)
    with the five weights of section 3.2 and the Gaussian window and constants of SSIM. As with the host's SSIM, the
    channels of a colour image are measured one by one and averaged. A scale whose mean contrast-structure term is
    negative, for which the paper's power is undefined, counts as 0.

    The coarsest scale must hold one 11x11 window, so five scales need at least 161 pixels in height and width. Smaller
    images can be measured on fewer scales, with the weights of the finest ones rescaled to the sum 1: four scales
    need 81 pixels, three 41, two 21, and one, which is SSIM, 11. Values for different `scales` must not be compared
    with each other.

    Args:
        img: restored image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``.
        img2: ground truth, likewise.
        crop_border: pixels left out along each edge.
        input_order: ``'HWC'`` or ``'CHW'``.
        test_y_channel: measure the Y channel of YCbCr only.
        scales: 1 to 5; fewer than 5 is this plugin's extension to the paper.
        better: read by the host, which passes all options on; without effect here.

    Raises:
        ValueError: `scales` out of range; images too small or of different shapes.
    """
    if not 1 <= scales <= len(SCALE_WEIGHTS):
        raise ValueError(f'MS-SSIM: scales must be 1 to {len(SCALE_WEIGHTS)}, got {scales}')
    img, img2 = check_pair(img, img2, crop_border, input_order)
    height, width = img.shape[:2]
    needed = (WINDOW - 1) * 2 ** (scales - 1) + 1
    if min(height, width) < needed:
        raise ValueError(
            f'MS-SSIM with {scales} scales needs at least {needed}x{needed} pixels, got {height}x{width}; '
            'set the option `scales` to a smaller number'
        )
    if test_y_channel:
        img, img2 = to_y_channel(img), to_y_channel(img2)
    img, img2 = img.astype(np.float64), img2.astype(np.float64)
    return float(np.mean([_msssim(img[..., c], img2[..., c], scales) for c in range(img.shape[2])]))


def _msssim(x: np.ndarray, y: np.ndarray, scales: int) -> float:
    """Return MS-SSIM of two ``(H, W)`` float images."""
    terms = []
    for scale in range(scales):
        ssim, contrast_structure = _ssim_terms(x, y)
        coarsest = scale == scales - 1
        terms.append(max(ssim if coarsest else contrast_structure, 0.0))
        x, y = _halve(x), _halve(y)
    weights = np.array(SCALE_WEIGHTS[:scales])
    if scales < len(SCALE_WEIGHTS):  # the published five sum to 1.0001 and stay as they are
        weights /= weights.sum()
    return float(np.prod(np.array(terms) ** weights))


def _ssim_terms(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return mean SSIM and mean contrast-structure term over all whole windows."""

    def window_mean(values: np.ndarray) -> np.ndarray:
        border = WINDOW // 2
        return cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA)[border:-border, border:-border]

    mean_x, mean_y = window_mean(x), window_mean(y)
    var_x = window_mean(x * x) - mean_x**2
    var_y = window_mean(y * y) - mean_y**2
    covariance = window_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    contrast_structure = (2 * covariance + C2) / (var_x + var_y + C2)
    return float((luminance * contrast_structure).mean()), float(contrast_structure.mean())


def _halve(x: np.ndarray) -> np.ndarray:
    """Average blocks of 2x2; an odd last row or column is repeated, as the authors' code does."""
    x = np.pad(x, [(0, size % 2) for size in x.shape], mode='edge')
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
