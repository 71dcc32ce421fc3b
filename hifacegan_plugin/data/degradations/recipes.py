"""The named recipes: lists of steps, written as they would be in an options file."""

from __future__ import annotations

from typing import Any

# The degradations of HiFaceGAN (Yang et al., ACM MM 2020, arXiv 2005.05005), noise on the 0-255 scale.
# 'sr4x' and 'down' leave the picture at its small size; 'full' (face renovation) keeps the size throughout.
RECIPES: dict[str, list[Any]] = {
    'sr4x': [{'type': 'Resize', 'ratio': 1 / 4, 'interpolation': 'area'}],
    'down': [{'type': 'Resize', 'ratio': [1 / 8, 1 / 4], 'interpolation': 'cubic'}],
    'mosaic16x': [{'type': 'Mosaic', 'block': 16}],
    'noise': [{'type': 'OneOf', 'steps': [
        {'type': 'GaussianNoise', 'sigma': [20, 40]},
        {'type': 'LaplaceNoise', 'scale': [20, 40]},
        {'type': 'PoissonNoise', 'rate': [15, 30]},
    ]}],
    'blur': [{'type': 'OneOf', 'steps': [
        {'type': 'MotionBlur', 'size': [10, 20]},
        {'type': 'GaussianBlur', 'sigma': [3, 8]},
    ]}],
    'jpeg': [{'type': 'JPEG', 'quality': [17, 51]}],
    'full': [{'type': 'Shuffle', 'steps': ['blur', 'noise', 'jpeg', {'type': 'ResizeBack', 'steps': ['down']}]}],
}
