"""The named recipes: lists of steps, written as they would be in an options file."""

from __future__ import annotations

import math
from typing import Any


def _kernel_blur(sigma: list[float], beta_generalized: list[float], beta_plateau: list[float]) -> dict[str, Any]:
    """Real-ESRGAN's choice of blur: a parametric kernel 9 times in 10, otherwise a sinc filter.

    In the paper's settings a shape parameter beta is drawn as often below 1 as above it.
    """

    def kernel(shape: str, isotropic: float, beta: float | list[float] = 1) -> dict[str, Any]:
        return {
            'type': 'KernelBlur',
            'shape': shape,
            'isotropic': isotropic,
            'size': [7, 21],
            'sigma_x': sigma,
            'sigma_y': sigma,
            'beta': beta,
        }

    kernels = [kernel('gaussian', 0.45 / 0.7)]
    for shape, (low, high) in (('generalized', beta_generalized), ('plateau', beta_plateau)):
        kernels += [kernel(shape, 0.8, [low, 1]), kernel(shape, 0.8, [1, high])]
    sinc = {
        'type': 'OneOf',
        'weights': [3, 5],
        'steps': [  # sizes 7, 9, 11 and 13, ..., 21
            {'type': 'SincFilter', 'size': [7, 11], 'cutoff': [math.pi / 3, math.pi]},
            {'type': 'SincFilter', 'size': [13, 21], 'cutoff': [math.pi / 5, math.pi]},
        ],
    }
    parametric = {'type': 'OneOf', 'weights': [0.7, 0.075, 0.075, 0.075, 0.075], 'steps': kernels}
    return {'type': 'OneOf', 'weights': [0.9, 0.1], 'steps': [parametric, sinc]}


def _camera_noise(sigma: list[float], scale: list[float]) -> dict[str, Any]:
    return {
        'type': 'OneOf',
        'steps': [
            {'type': 'GaussianNoise', 'sigma': sigma, 'grey': 0.4},
            {'type': 'ShotNoise', 'scale': scale, 'grey': 0.4},
        ],
    }


def _real_esrgan() -> list[Any]:
    """Real-ESRGAN's second-order process at its x4 settings (Wang et al., ICCVW 2021, section 3 and appendix A).

    Unlike there, images are rounded to 8 bits between the steps.
    """
    any_of = ['area', 'linear', 'cubic']
    jpeg = {'type': 'JPEG', 'quality': [30, 95]}
    first = [
        _kernel_blur([0.2, 3], [0.5, 4], [1, 2]),
        {
            'type': 'OneOf',
            'weights': [0.2, 0.7, 0.1],
            'steps': [
                {'type': 'Resize', 'ratio': [1, 1.5], 'interpolation': any_of},
                {'type': 'Resize', 'ratio': [0.15, 1], 'interpolation': any_of},
                [],
            ],
        },
        _camera_noise([1, 30], [0.05, 3]),
        jpeg,
        {'type': 'Sometimes', 'probability': 0.8, 'steps': [_kernel_blur([0.2, 1.5], [0.5, 4], [1, 2])]},
    ]
    second = [
        {
            'type': 'OneOf',
            'weights': [0.3, 0.4, 0.3],
            'steps': [
                {'type': 'ResizeBack', 'ratio': ratio, 'interpolation': any_of, 'steps': first}
                for ratio in ([1 / 4, 1.2 / 4], [0.3 / 4, 1 / 4], 1 / 4)
            ],
        },
        _camera_noise([1, 25], [0.05, 2.5]),
    ]
    sinc = {'type': 'Sometimes', 'probability': 0.8, 'steps': [{'type': 'SincFilter', 'size': [7, 21]}]}
    back = {'type': 'ResizeBack', 'ratio': 1 / 4, 'interpolation': any_of}
    return [
        {
            'type': 'OneOf',
            'steps': [
                [{**back, 'steps': second}, sinc, jpeg],
                [{**back, 'steps': [*second, jpeg]}, sinc],
            ],
        }
    ]


# The degradations of HiFaceGAN (Yang et al., ACM MM 2020, arXiv 2005.05005), noise on the 0-255 scale, and others
# that people train on. 'sr4x', 'down' and 'realesrgan' leave the image at its small size, the others keep the size.
RECIPES: dict[str, list[Any]] = {
    'sr4x': [{'type': 'Resize', 'ratio': 1 / 4, 'interpolation': 'area'}],
    'down': [{'type': 'Resize', 'ratio': [1 / 8, 1 / 4], 'interpolation': 'cubic'}],
    'mosaic16x': [{'type': 'Mosaic', 'block': 16}],
    'noise': [
        {
            'type': 'OneOf',
            'steps': [
                {'type': 'GaussianNoise', 'sigma': [20, 40]},
                {'type': 'LaplaceNoise', 'scale': [20, 40]},
                {'type': 'PoissonNoise', 'rate': [15, 30]},
            ],
        }
    ],
    'blur': [
        {
            'type': 'OneOf',
            'steps': [
                {'type': 'MotionBlur', 'size': [10, 20]},
                {'type': 'GaussianBlur', 'sigma': [3, 8]},
            ],
        }
    ],
    'jpeg': [{'type': 'JPEG', 'quality': [17, 51]}],
    'full': [{'type': 'Shuffle', 'steps': ['blur', 'noise', 'jpeg', {'type': 'ResizeBack', 'steps': ['down']}]}],
    # Weather. Haze lies over the streaks too: in heavy rain the distance is veiled (Li et al., CVPR 2019).
    'rain': [{'type': 'Rain'}],
    'haze': [{'type': 'Haze'}],
    'rain_haze': ['rain', 'haze'],
    # GFPGAN (Wang et al., CVPR 2021, section 4.1, and the options file of its first version), without and with its
    # changes of colour.
    'gfpgan': [
        {
            'type': 'ResizeBack',
            'interpolation': 'linear',
            'steps': [
                {'type': 'KernelBlur', 'size': 41, 'sigma_x': [0.1, 10], 'sigma_y': [0.1, 10], 'isotropic': 0.5},
                {'type': 'Downsample', 'factor': [0.8, 8], 'interpolation': 'linear'},
                {'type': 'GaussianNoise', 'sigma': [0, 20]},
                {'type': 'JPEG', 'quality': [60, 100]},
            ],
        }
    ],
    'gfpgan_colour': [
        'gfpgan',
        {'type': 'Sometimes', 'probability': 0.3, 'steps': [{'type': 'ColourShift'}]},
        {'type': 'Sometimes', 'probability': 0.01, 'steps': [{'type': 'Greyscale'}]},
        {'type': 'Sometimes', 'probability': 0.3, 'steps': [{'type': 'ColourJitter'}]},
    ],
    'realesrgan': _real_esrgan(),
}
