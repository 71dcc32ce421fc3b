"""Multi-scale structural similarity."""

from __future__ import annotations

import numpy as np
from basicsr.metrics.metric_util import to_y_channel

from hifacegan_plugin.metrics.inputs import check_mask, check_pair
from hifacegan_plugin.metrics.ssim_maps import WINDOW, mean_over, ssim_maps

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def calculate_msssim(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int = 0,
    input_order: str = 'HWC',
    test_y_channel: bool = False,
    scales: int = 5,
    mask: np.ndarray | None = None,
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
        mask: bool ``(H, W)``: the terms of each scale are averaged over these pixels alone, the mask being halved as
            the images are, so that a pixel counts by its share inside; another extension. Without it, over all.
        better: read by the host, which passes all options on; without effect here.

    Raises:
        ValueError: `scales` out of range; images too small or of different shapes; nothing of the mask left at a scale.
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
    weights = None if mask is None else check_mask(mask, img, crop_border).astype(np.float64)
    return float(np.mean([_msssim(img[..., c], img2[..., c], weights, scales) for c in range(img.shape[2])]))


def _msssim(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, scales: int) -> float:
    """Return MS-SSIM of two ``(H, W)`` float images, whose pixels count by their weights ``(H, W)``."""
    terms = []
    for scale in range(scales):
        coarsest = scale == scales - 1
        ssim, contrast_structure = ssim_maps(x, y)
        terms.append(max(mean_over(ssim if coarsest else contrast_structure, weights), 0.0))
        x, y, weights = _halve(x), _halve(y), None if weights is None else _halve(weights)
    exponents = np.array(SCALE_WEIGHTS[:scales])
    if scales < len(SCALE_WEIGHTS):  # the published five sum to 1.0001 and stay as they are
        exponents /= exponents.sum()
    return float(np.prod(np.array(terms) ** exponents))


def _halve(x: np.ndarray) -> np.ndarray:
    """Average blocks of 2x2; an odd last row or column is repeated, as the authors' code does."""
    x = np.pad(x, [(0, size % 2) for size in x.shape], mode='edge')
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
