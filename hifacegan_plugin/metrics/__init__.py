"""Metrics beside the host's PSNR, SSIM and NIQE: MS-SSIM, LPIPS, FED and LLE per picture; ``fid`` for a whole set.

Those listed in ``__all__`` are registered with the host. In an options file they stand under ``val: metrics:``, as in
``lpips: {type: calculate_lpips, net: alex}``; with a model of the host's own, also ``better: lower``, which this
plugin's model and ``hifacegan compare`` know from ``catalogue``. A NaN means that this picture could not be measured;
``prerequisites.MetricUnavailableError`` means that none can, because a package or weights are missing. Nothing heavy is
imported or loaded before the first call.
"""

from hifacegan_plugin.metrics.face import calculate_fed, calculate_lle
from hifacegan_plugin.metrics.lpips import calculate_lpips
from hifacegan_plugin.metrics.msssim import calculate_msssim

__all__ = ['calculate_fed', 'calculate_lle', 'calculate_lpips', 'calculate_msssim']
