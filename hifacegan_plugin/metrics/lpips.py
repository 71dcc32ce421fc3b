"""Learned perceptual image patch similarity (LPIPS), with the ``lpips`` library."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np
import torch

from hifacegan_plugin.metrics.inputs import bgr_to_rgb, check_pair
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError, load_hub_weights

SMALLEST_IMAGE = {'alex': 31, 'vgg': 16}  # side in pixels that the backbone's last pooling layer needs


def calculate_lpips(
    img: np.ndarray,
    img2: np.ndarray,
    net: str = 'alex',
    crop_border: int = 0,
    input_order: str = 'HWC',
    device: str | torch.device | None = None,
    better: str | None = None,
) -> float:
    """Return LPIPS v0.1, from 0 for equal images to about 1, lower is better.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018. Values for
    ``alex``, which the authors recommend for evaluation, and ``vgg`` cannot be compared with each other.

    The library contains its linear heads. The backbone, torchvision's AlexNet or VGG16 for ImageNet, is read from
    PyTorch Hub's cache and never downloaded.

    Args:
        img: restored image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``.
        img2: ground truth of the same shape.
        net: ``'alex'`` (images from 31x31) or ``'vgg'`` (from 16x16).
        crop_border: pixels to crop at each edge.
        input_order: ``'HWC'`` or ``'CHW'``.
        device: device of the network; by default the GPU if there is one.
        better: ignored; the host passes all options.

    Raises:
        MetricUnavailableError: the library or the backbone's weights are missing.
        ValueError: ``net`` is unknown, or the images are too small or differ in shape.
    """
    if net not in SMALLEST_IMAGE:
        raise ValueError(f'LPIPS: net must be one of {", ".join(SMALLEST_IMAGE)}, got {net!r}')
    img, img2 = check_pair(img, img2, crop_border, input_order)
    if min(img.shape[:2]) < SMALLEST_IMAGE[net]:
        raise ValueError(
            f'LPIPS ({net}) needs at least {SMALLEST_IMAGE[net]} pixels in height and width, '
            f'got {img.shape[0]}x{img.shape[1]}'
        )
    device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    network = _load_network(net, device)
    with torch.no_grad():
        return network(_to_tensor(img, device), _to_tensor(img2, device)).item()


def _to_tensor(image: np.ndarray, device: torch.device) -> torch.Tensor:
    """Convert BGR ``(H, W, C)`` in [0, 255] to RGB ``(1, 3, H, W)`` in [-1, 1]."""
    rgb = torch.from_numpy(bgr_to_rgb(image)).to(device, torch.float32)
    return rgb.permute(2, 0, 1)[None] / 127.5 - 1


@functools.cache
def _load_network(net: str, device: torch.device) -> torch.nn.Module:
    """Build the library's network and load its weights with ``weights_only=True``, unlike the library."""
    try:
        import lpips
    except ImportError as error:
        raise MetricUnavailableError(
            f'cannot import lpips ({error}): pip install "hifacegan-plugin[metrics]"'
        ) from error
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    url = {'alex': AlexNet_Weights, 'vgg': VGG16_Weights}[net].IMAGENET1K_V1.url
    backbone = load_hub_weights(url)
    heads = torch.load(Path(lpips.__path__[0]) / f'weights/v0.1/{net}.pth', map_location='cpu', weights_only=True)

    # The meta device skips the initialisation, which is slow and draws random numbers.
    with torch.device('meta'), warnings.catch_warnings():
        warnings.filterwarnings('ignore', module='torchvision')  # the library uses torchvision's older signature
        network = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    try:
        # The library's slice2.3.weight is torchvision's features.3.weight.
        network.net.load_state_dict(
            {key: backbone['features.' + key.partition('.')[2]] for key in network.net.state_dict()}, assign=True
        )
    except (KeyError, RuntimeError) as error:
        raise MetricUnavailableError(
            f"{url.rpartition('/')[2]} in PyTorch Hub's cache is not what {url} holds: download it again"
        ) from error
    network.load_state_dict(heads, strict=False, assign=True)
    return network.eval().requires_grad_(False).to(device)
