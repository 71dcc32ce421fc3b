"""Metrics in addition to the host's PSNR, SSIM and NIQE: MS-SSIM, LPIPS, FED and LLE for images, FID for sets.

The functions in ``__all__`` are registered with the host and used in options files under ``val: metrics``, such as
``lpips: {type: calculate_lpips, net: alex}``. Models of the host also need ``better: lower``, which this plugin reads
from ``catalogue``. A function returns NaN if an image cannot be measured, and raises
``prerequisites.MetricUnavailableError`` if a package or weights are missing. Large packages and weights are loaded at
the first call. ``metric`` has the classes that measure sets of images.
"""

from hifacegan_plugin.metrics.face import calculate_fed, calculate_lle
from hifacegan_plugin.metrics.lpips import calculate_lpips
from hifacegan_plugin.metrics.msssim import calculate_msssim

__all__ = ['calculate_fed', 'calculate_lle', 'calculate_lpips', 'calculate_msssim']
