"""From a degraded image to a restored one: networks of the host's registry, and classical methods."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.images.channels import with_channels
from hifacegan_plugin.images.resizing import fit, resize
from hifacegan_plugin.schema.problem import raise_first
from hifacegan_plugin.schema.registered import problems_of_call, registered_names
from hifacegan_plugin.weights import build_generator, read_weights

# Degraded image (h, w, 3) and the size (H, W) to bring it to -> restored image (H, W, 3); both uint8 RGB.
Restore = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


class NotFiniteError(ValueError):
    """The output of a network holds NaN or infinite values."""


class Method(NamedTuple):
    """A function that restores, and the network that does it, if there is one."""

    restore: Restore
    network: nn.Module | None = None
    network_input: Callable[[np.ndarray, tuple[int, int]], Tensor] | None = None


def build_method(options: dict[str, Any]) -> Method:
    """Build what an entry under ``restorers`` describes; load its weights, on the GPU if there is one.

    Raises:
        ValueError: the weights are those of another network, damaged or missing; the host's registry has no such
            network, or the network does not take an option.
    """
    if 'type' in options:
        arguments = {key: value for key, value in options.items() if key != 'type'}
        classical = {'input': as_it_is, 'bicubic': bicubic, 'fast_nl_means': fast_nl_means}[options['type']]
        return Method(partial(classical, **arguments))
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    network = _build_network(options).to(device).eval().requires_grad_(False)
    scale, multiple = options.get('scale', 1), options.get('multiple', 1)
    channels = getattr(network, 'num_in_ch', (options.get('network_g') or {}).get('num_in_ch', 3))
    network_input = partial(_network_input, scale=scale, multiple=multiple, channels=channels, device=device)

    def restore(degraded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        with torch.inference_mode():
            x = network_input(degraded, size)
            y = network(x)
            if y.shape[2:] != (x.shape[2] * scale, x.shape[3] * scale):
                raise ValueError(
                    f'the network makes {y.shape[3]}x{y.shape[2]} pixels of {x.shape[3]}x{x.shape[2]}, '
                    f'which does not fit scale: {scale}'
                )
            return _to_image(y, size)

    return Method(restore, network, network_input)


# --------------------------------------------------------------------------------------------------- classical


def as_it_is(degraded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the degraded image; enlarge the pixels of a smaller one."""
    return degraded if degraded.shape[:2] == size else resize(degraded, *size, 'nearest')


def bicubic(degraded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge bicubically; an image that has its full size stays as it is."""
    return degraded if degraded.shape[:2] == size else resize(degraded, *size, 'cubic')


def fast_nl_means(
    degraded: np.ndarray, size: tuple[int, int], h: float = 10, h_color: float = 10, template: int = 7, search: int = 21
) -> np.ndarray:
    """Enlarge bicubically and average over similar patches (Buades et al., "Non-local means denoising", IPOL 2011).

    OpenCV's fastNlMeansDenoisingColored; ``h`` and ``h_color`` are its strengths for luminance and colour.
    """
    bgr = cv2.cvtColor(bicubic(degraded, size), cv2.COLOR_RGB2BGR)
    return cv2.cvtColor(cv2.fastNlMeansDenoisingColored(bgr, None, h, h_color, template, search), cv2.COLOR_BGR2RGB)


# ----------------------------------------------------------------------------------------------------- networks


def _build_network(options: dict[str, Any]) -> nn.Module:
    """Build a network by ``network_g``, else by what its weights file says about itself, and load the weights."""
    from basicsr.archs import build_network
    from basicsr.utils.registry import ARCH_REGISTRY

    path = options.get('pretrain_network_g')
    state_dict, options_in_file = read_weights(path, options.get('param_key_g')) if path else ({}, {})
    if not options.get('network_g') and options_in_file.get('type', CSRGenerator.__name__) == CSRGenerator.__name__:
        return build_generator(state_dict, options_in_file)
    network_options = options.get('network_g') or options_in_file
    raise_first(problems_of_call('network_g', network_options, registered_names(ARCH_REGISTRY)))
    network = build_network(network_options)
    if path:
        state_dict = {key.removeprefix('module.'): value for key, value in state_dict.items()}
        try:
            network.load_state_dict(state_dict, strict=options.get('strict_load_g', True))
        except RuntimeError as error:
            raise ValueError(f'{path}: {error}') from error
    return network


def _network_input(
    degraded: np.ndarray, size: tuple[int, int], *, scale: int, multiple: int, channels: int, device: torch.device
) -> Tensor:
    """Bring a degraded image to 1/scale of the size it is to be restored to, padded; ``(1, C, h, w)`` in [0, 1].

    Raises:
        ValueError: the network takes grey images, and this one has colours.
    """
    if channels == 1:
        if (degraded != degraded[..., :1]).any():
            raise ValueError(
                'the network takes grey images, and this one has colours: take a grey test set (of a '
                'DegradationDataset, color: grey makes one)'
            )
        degraded = degraded[..., :1]
    if (degraded.shape[0] * scale, degraded.shape[1] * scale) == size:
        image = _pad(degraded, multiple)
    else:
        image = _pad(fit(degraded, *size), multiple * scale)
        image = fit(image, image.shape[0] // scale, image.shape[1] // scale)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(device).float() / 255


def _pad(image: np.ndarray, multiple: int) -> np.ndarray:
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode='symmetric')


def _to_image(output: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Turn ``(1, 1 or 3, >= H, >= W)`` around [0, 1] into an image of the requested size, RGB."""
    output = with_channels(output, 3)[0, :, : size[0], : size[1]]
    if not output.isfinite().all():
        places = int((~output.isfinite()).sum())
        raise NotFiniteError(f'the output of the network holds NaN or infinite values in {places} places')
    return output.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
