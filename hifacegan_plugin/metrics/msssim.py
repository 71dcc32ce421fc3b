"""Multi-scale structural similarity (MS-SSIM)."""

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
    with the five weights of section 3.2 and the Gaussian window and constants of SSIM. As in the host's SSIM, the
    values of the colour channels are averaged. If the mean contrast-structure term of a scale is negative, where the
    power in the paper is undefined, it is set to 0.

    The coarsest scale must contain an 11x11 window, so five scales need at least 161 pixels in height and width. Fewer
    scales, with the weights of the finest scales normalised to the sum 1, need less: four 81 pixels, three 41, two 21,
    and one, which is SSIM, 11. Values for different ``scales`` cannot be compared with each other.

    Args:
        img: restored image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``.
        img2: ground truth of the same shape.
        crop_border: pixels to crop at each edge.
        input_order: ``'HWC'`` or ``'CHW'``.
        test_y_channel: measure only the Y channel of YCbCr.
        scales: 1 to 5; fewer than 5 is an extension to the paper.
        mask: bool ``(H, W)``, pixels over which the terms of each scale are averaged, an extension to the paper. The
            mask is averaged to coarser scales like the images and then weights the pixels. None uses all pixels.
        better: ignored; the host passes all options.

    Raises:
        ValueError: ``scales`` is out of range, the images are too small or differ in shape, or the mask is empty at a
            scale.
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
    """Return MS-SSIM of two float images ``(H, W)``, with weights ``(H, W)`` of the pixels."""
    terms = []
    for scale in range(scales):
        coarsest = scale == scales - 1
        ssim, contrast_structure = ssim_maps(x, y)
        terms.append(max(mean_over(ssim if coarsest else contrast_structure, weights), 0.0))
        x, y, weights = _halve(x), _halve(y), None if weights is None else _halve(weights)
    exponents = np.array(SCALE_WEIGHTS[:scales])
    if scales < len(SCALE_WEIGHTS):  # the five published weights are not normalised, though their sum is 1.0001
        exponents /= exponents.sum()
    return float(np.prod(np.array(terms) ** exponents))


def _halve(x: np.ndarray) -> np.ndarray:
    """Average blocks of 2x2 pixels; an odd last row or column is repeated, as in the authors' code."""
    x = np.pad(x, [(0, size % 2) for size in x.shape], mode='edge')
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
