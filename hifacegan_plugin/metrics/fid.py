"""Fréchet inception distance of a whole set.

Collect :func:`inception_features` of every restored image and its ground truth, then pass both stacks to
:func:`frechet_distance`. The host's own ``calculate_fid`` calls SciPy in a way that SciPy 1.18 no longer supports.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hifacegan_plugin.metrics.inputs import bgr_to_rgb, check_image
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError, load_hub_weights


def inception_features(img: np.ndarray, device: str | torch.device | None = None) -> np.ndarray:
    """Return the features of one image for the FID: the last pooling of the FID's own Inception-v3.

    Args:
        img: image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``, of any size; it is resized to 299x299.
        device: where the network runs; by default the GPU if there is one.

    Returns:
        float32 ``(2048,)``.

    Raises:
        MetricUnavailableError: the weights are neither in PyTorch Hub's cache nor in the host's folder
            ``experiments/pretrained_models``.
        ValueError: not an image.
    """
    rgb = bgr_to_rgb(check_image(img))
    device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    network = _load_inception(device)
    with torch.no_grad():
        x = torch.from_numpy(rgb).to(device, torch.float32).permute(2, 0, 1)[None] / 255
        x = nn.functional.interpolate(x, size=(299, 299), mode='bilinear', align_corners=False)
        return network(2 * x - 1)[0].cpu().numpy()


def frechet_distance(features: np.ndarray, features2: np.ndarray) -> float:
    """Return the squared Fréchet distance of two sets' Gaussian fits, from 0, lower is better; of features, the FID.

    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017:
    ``|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))``. With ``S = R^T R`` the last trace is the sum of the singular values
    of ``R1 R2^T`` (Mathiasen and Hvilshøj, "Fast Fréchet inception distance", 2020), which stays real and exact where
    the covariances are singular, as they are for sets smaller than the feature length.

    The distance is biased upwards for small sets: compare sets of the same size only; the paper's has 5000 images.

    Args:
        features: ``(N, D)``.
        features2: ``(M, D)``.

    Returns:
        The distance, or NaN where a set has fewer than two images and so no covariance.
    """
    if min(len(features), len(features2)) < 2:
        return math.nan
    mean, root = _mean_and_covariance_root(features)
    mean2, root2 = _mean_and_covariance_root(features2)
    cross = np.linalg.norm(root @ root2.T, 'nuc')
    return float(np.sum((mean - mean2) ** 2) + np.sum(root**2) + np.sum(root2**2) - 2 * cross)


def _mean_and_covariance_root(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean ``(D,)`` and an R of at most D rows with ``R^T R`` = covariance."""
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    root = np.linalg.qr((features - mean) / math.sqrt(len(features) - 1), mode='r')
    return mean, np.asarray(root)  # which it is; NumPy's types do not know


@functools.cache
def _load_inception(device: torch.device) -> nn.Module:
    """Build torchvision's Inception-v3 of the host's blocks, which pool as TensorFlow does, without its last layer."""
    from basicsr.archs import inception
    from torchvision.models import Inception3
    from torchvision.models.inception import BasicConv2d, InceptionAux, InceptionB, InceptionD

    def last_blocks(in_channels: int) -> nn.Module:
        return (inception.FIDInceptionE_1 if in_channels == 1280 else inception.FIDInceptionE_2)(in_channels)

    weights = load_hub_weights(inception.FID_WEIGHTS_URL, Path(inception.LOCAL_FID_WEIGHTS))
    blocks = [
        BasicConv2d,
        inception.FIDInceptionA,
        InceptionB,
        inception.FIDInceptionC,
        InceptionD,
        last_blocks,
        InceptionAux,
    ]
    with torch.device('meta'):  # without weights, it takes no time and leaves a training's random numbers alone
        network = Inception3(num_classes=1008, aux_logits=False, init_weights=False, inception_blocks=blocks)
    try:
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise MetricUnavailableError(
            f'the Inception weights found are not what {inception.FID_WEIGHTS_URL} holds: download them again'
        ) from error
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False).to(device)
