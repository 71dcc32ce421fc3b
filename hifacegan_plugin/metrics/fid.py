"""Fréchet inception distance over a whole set.

Collect :func:`inception_features` of every restored and every true picture, then give both stacks to
:func:`frechet_distance`. The host's own ``calculate_fid`` calls SciPy in a way that SciPy 1.18 no longer takes.
"""

from __future__ import annotations

import functools
import math
import warnings
from pathlib import Path

import numpy as np
import torch

from hifacegan_plugin.metrics.inputs import bgr_to_rgb, check_picture
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError, load_hub_weights
from hifacegan_plugin.system.attributes import replaced


def inception_features(img: np.ndarray, device: str | torch.device | None = None) -> np.ndarray:
    """Features of one picture for the FID: the final pooling of the FID's own Inception-v3, which the host builds.

    Args:
        img: picture in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``, of any size; resized to 299x299 inside.
        device: where the network runs; by default the GPU where there is one.

    Returns:
        float32 ``(2048,)``.

    Raises:
        MetricUnavailableError: the weights are neither in PyTorch Hub's cache nor in the host's folder
            ``experiments/pretrained_models``.
        ValueError: not a picture.
    """
    rgb = bgr_to_rgb(check_picture(img))
    device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    network = _load_inception(device)
    with torch.no_grad():
        tensor = torch.from_numpy(rgb).to(device, torch.float32).permute(2, 0, 1)[None] / 255
        return network(tensor)[0].flatten().cpu().numpy()


def frechet_distance(features: np.ndarray, features2: np.ndarray) -> float:
    """Squared Fréchet distance of two sets' Gaussian fits, from 0, lower is better; the FID for Inception's features.

    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017:
    ``|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))``. With ``S = R^T R`` the last trace is the sum of the singular values
    of ``R1 R2^T`` (Mathiasen and Hvilshøj, "Fast Fréchet inception distance", 2020), which stays real and exact where
    the covariances are singular, as they are for sets smaller than the feature length.

    The distance is biased upwards for small sets: compare sets of the same size only; the paper's has 5000 pictures.

    Args:
        features: ``(N, D)``.
        features2: ``(M, D)``.

    Returns:
        The distance, or NaN where a set has fewer than two pictures and so no covariance.
    """
    if min(len(features), len(features2)) < 2:
        return math.nan
    mean, root = _mean_and_covariance_root(features)
    mean2, root2 = _mean_and_covariance_root(features2)
    cross = np.linalg.norm(root @ root2.T, 'nuc')
    return float(np.sum((mean - mean2)**2) + np.sum(root**2) + np.sum(root2**2) - 2 * cross)


def _mean_and_covariance_root(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(D,)`` and an R of at most D rows with ``R^T R`` = covariance."""
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    return mean, np.linalg.qr((features - mean) / math.sqrt(len(features) - 1), mode='r')


@functools.cache
def _load_inception(device: torch.device) -> torch.nn.Module:
    from basicsr.archs import inception
    weights = load_hub_weights(inception.FID_WEIGHTS_URL, Path(inception.LOCAL_FID_WEIGHTS))
    # The host builds, downloads and unpickles in one go: hand it the weights in place of its download. The random ones
    # that they replace must not advance the random numbers of a training run.
    with (replaced(inception, LOCAL_FID_WEIGHTS='', load_url=lambda *args, **kwargs: weights),
          torch.random.fork_rng(devices=[]), warnings.catch_warnings()):
        warnings.filterwarnings('ignore', module='torchvision')  # the host uses torchvision's older signature
        try:
            network = inception.InceptionV3([3], resize_input=True, normalize_input=True)
        except RuntimeError as error:
            raise MetricUnavailableError(f'the Inception weights found are not what {inception.FID_WEIGHTS_URL} holds: '
                                         'download them anew') from error
    return network.eval().to(device)
