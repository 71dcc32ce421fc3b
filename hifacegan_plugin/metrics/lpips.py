"""Learned perceptual image patch similarity, by the ``lpips`` library."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np
import torch

from hifacegan_plugin.metrics.inputs import bgr_to_rgb, check_pair
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError, load_hub_weights

SMALLEST_IMAGE = {'alex': 31, 'vgg': 16}  # below, nothing is left for the backbone's last pooling


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

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018. Numbers for
    ``alex``, the authors' choice for evaluation, and ``vgg`` must not be compared with each other.

    The library ships its linear heads. The backbone is torchvision's AlexNet or VGG16 for ImageNet, which must lie in
    PyTorch Hub's cache; nothing is downloaded.

    Args:
        img: restored image in [0, 255], BGR ``(H, W, 3)`` or grey ``(H, W)``.
        img2: ground truth, likewise.
        net: ``'alex'`` (images from 31x31) or ``'vgg'`` (from 16x16).
        crop_border: pixels left out along each edge.
        input_order: ``'HWC'`` or ``'CHW'``.
        device: where the network runs; by default the GPU if there is one.
        better: read by the host, which passes all options on; without effect here.

    Raises:
        MetricUnavailableError: the library or the backbone's weights are missing.
        ValueError: unknown `net`; images too small or of different shapes.
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
    """Turn BGR ``(H, W, C)`` in [0, 255] into RGB ``(1, 3, H, W)`` in [-1, 1]."""
    rgb = torch.from_numpy(bgr_to_rgb(image)).to(device, torch.float32)
    return rgb.permute(2, 0, 1)[None] / 127.5 - 1


@functools.cache
def _load_network(net: str, device: torch.device) -> torch.nn.Module:
    """Build the library's network and fill it from files, without its own loading, which would run pickled code."""
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

    # Without weights, the network takes no time and leaves a training's random numbers alone.
    with torch.device('meta'), warnings.catch_warnings():
        warnings.filterwarnings('ignore', module='torchvision')  # the library uses torchvision's older signature
        network = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    try:
        # `slice2.3.weight` of the library is torchvision's `features.3.weight`.
        network.net.load_state_dict(
            {key: backbone['features.' + key.partition('.')[2]] for key in network.net.state_dict()}, assign=True
        )
    except (KeyError, RuntimeError) as error:
        raise MetricUnavailableError(
            f"{url.rpartition('/')[2]} in PyTorch Hub's cache is not what {url} holds: download it again"
        ) from error
    network.load_state_dict(heads, strict=False, assign=True)
    return network.eval().requires_grad_(False).to(device)
