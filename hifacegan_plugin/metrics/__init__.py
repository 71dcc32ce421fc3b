"""Metrics besides the host's PSNR, SSIM and NIQE: MS-SSIM, LPIPS, FED and LLE of an image; FID of a whole set.

The functions in ``__all__`` are registered with the host. In an options file they stand under ``val: metrics:``, as in
``lpips: {type: calculate_lpips, net: alex}``; a model of the host's own also needs ``better: lower``, which this
plugin knows from ``catalogue``. NaN means that this image cannot be measured; ``prerequisites.MetricUnavailableError``
means that none can, because a package or weights are missing. Nothing heavy is imported or loaded before the first
call. ``metric`` turns the options into objects that measure whole sets of images.
"""

from hifacegan_plugin.metrics.face import calculate_fed, calculate_lle
from hifacegan_plugin.metrics.lpips import calculate_lpips
from hifacegan_plugin.metrics.msssim import calculate_msssim

__all__ = ['calculate_fed', 'calculate_lle', 'calculate_lpips', 'calculate_msssim']
