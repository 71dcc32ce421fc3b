"""Fréchet inception distance (FID) of two sets of images.

Stack :func:`inception_features` of all restored images and of their ground truth, and pass both to
:func:`frechet_distance`. The host's ``calculate_fid`` does not work with SciPy 1.18.
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
    """Return the FID features of an image: the output of the last pooling layer of the FID's Inception-v3.

    Args:
        img: image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``; it is resized to 299x299.
        device: device of the network; by default the GPU if there is one.

    Returns:
        float32 ``(2048,)``.

    Raises:
        MetricUnavailableError: the weights are neither in PyTorch Hub's cache nor in the host's folder
            ``experiments/pretrained_models``.
        ValueError: ``img`` is not an image.
    """
    rgb = bgr_to_rgb(check_image(img))
    device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    network = _load_inception(device)
    with torch.no_grad():
        x = torch.from_numpy(rgb).to(device, torch.float32).permute(2, 0, 1)[None] / 255
        x = nn.functional.interpolate(x, size=(299, 299), mode='bilinear', align_corners=False)
        return network(2 * x - 1)[0].cpu().numpy()


def frechet_distance(features: np.ndarray, features2: np.ndarray) -> float:
    """Return the squared Fréchet distance of Gaussians fitted to two sets of features, from 0, lower is better.

    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017:
    ``|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))``. With ``S = R^T R``, the last trace is the sum of singular values
    of ``R1 R2^T`` (Mathiasen and Hvilshøj, "Fast Fréchet inception distance", 2020). This is real and exact even for
    singular covariances, which sets with fewer than D images have.

    The distance is biased upwards for small sets, so only compare sets of the same size (5000 images in the paper).

    Args:
        features: features of the first set, ``(N, D)``.
        features2: features of the second set, ``(M, D)``.

    Returns:
        The distance, or NaN if a set has fewer than two images.
    """
    if min(len(features), len(features2)) < 2:
        return math.nan
    mean, root = _mean_and_covariance_root(features)
    mean2, root2 = _mean_and_covariance_root(features2)
    cross = np.linalg.norm(root @ root2.T, 'nuc')
    return float(np.sum((mean - mean2) ** 2) + np.sum(root**2) + np.sum(root2**2) - 2 * cross)


def _mean_and_covariance_root(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean ``(D,)`` and a matrix R with at most D rows, for which ``R^T R`` is the covariance."""
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    root = np.linalg.qr((features - mean) / math.sqrt(len(features) - 1), mode='r')
    return mean, np.asarray(root)  # for NumPy's types; root is an array


@functools.cache
def _load_inception(device: torch.device) -> nn.Module:
    """Build torchvision's Inception-v3 without its last layer, from the host's blocks, which pool like TensorFlow."""
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
    with torch.device('meta'):  # skips the initialisation, which is slow and draws random numbers
        network = Inception3(num_classes=1008, aux_logits=False, init_weights=False, inception_blocks=blocks)
    try:
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise MetricUnavailableError(
            f'the Inception weights found are not what {inception.FID_WEIGHTS_URL} holds: download them again'
        ) from error
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False).to(device)
