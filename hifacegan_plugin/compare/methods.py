"""Restoration methods: networks of the host's registry, networks of other authors, and classical methods."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from hifacegan_plugin.archs.csr.network import NAME
from hifacegan_plugin.images.channels import with_channels
from hifacegan_plugin.images.resizing import fit, resize
from hifacegan_plugin.schema.comparison import FastNlMeansOptions, NetworkRestorerOptions, RecognisedRestorerOptions
from hifacegan_plugin.schema.problem import raise_first
from hifacegan_plugin.schema.registered import problems_of_call, registered_names
from hifacegan_plugin.weights import build_generator, load_network, read_weights

# Maps a degraded image (h, w, 3) and the size (H, W) of the result to the restored image (H, W, 3), both uint8 RGB.
Restore = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


class NotFiniteError(ValueError):
    """The output of a network contains NaN or infinite values."""


class Method(NamedTuple):
    """A restoration function and, for networks, the network and the function that prepares its input."""

    restore: Restore
    network: nn.Module | None = None
    network_input: Callable[[np.ndarray, tuple[int, int]], Tensor] | None = None


class GuideInChannels(nn.Module):
    """Calls a network that takes an image and a guide, given both as channels of one input.

    Padding and resizing of the input then apply to image and guide alike.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.num_in_ch = network.num_in_ch

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, 2 num_in_ch, H, W)`` to ``(N, num_in_ch, H, W)``."""
        return self.network(*x.chunk(2, 1))


def build_method(options: dict[str, Any]) -> Method:
    """Build the method of an entry under ``restorers``, with its weights, on the GPU if there is one.

    Raises:
        ValueError: the weights are missing, damaged or do not fit, or the network or one of its options is unknown.
    """
    kind = options.get('type')
    if kind in ('input', 'bicubic'):
        return Method(nearest if kind == 'input' else bicubic)
    if kind == 'fast_nl_means':
        return Method(partial(fast_nl_means, options=FastNlMeansOptions.model_validate(options)))
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    if kind == 'spandrel':
        return _recognised_network(RecognisedRestorerOptions.model_validate(options), device)
    return _network_of_host(NetworkRestorerOptions.model_validate(options), device)


# --------------------------------------------------------------------------------------------------- classical


def nearest(degraded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the degraded image, enlarged by nearest-neighbour interpolation if it is smaller."""
    return degraded if degraded.shape[:2] == size else resize(degraded, *size, 'nearest')


def bicubic(degraded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize bicubically; an image of the given size is returned unchanged."""
    return degraded if degraded.shape[:2] == size else resize(degraded, *size, 'cubic')


def fast_nl_means(degraded: np.ndarray, size: tuple[int, int], options: FastNlMeansOptions) -> np.ndarray:
    """Resize bicubically and denoise by non-local means (Buades et al., "Non-local means denoising", IPOL 2011)."""
    strengths_and_sides = options.h, options.h_color, options.template, options.search
    bgr = cv2.cvtColor(bicubic(degraded, size), cv2.COLOR_RGB2BGR)
    return cv2.cvtColor(cv2.fastNlMeansDenoisingColored(bgr, None, *strengths_and_sides), cv2.COLOR_BGR2RGB)


# ----------------------------------------------------------------------------------------------------- networks


def _network_of_host(options: NetworkRestorerOptions, device: torch.device) -> Method:
    """Restore with a network of the host; its input has 1/scale of the full size and is padded to ``multiple``."""
    network, scale = _build_network(options), options.scale
    channels = getattr(network, 'num_in_ch', getattr(options.network_g, 'num_in_ch', 3))
    prepare = partial(_shrink, scale=scale, multiple=options.multiple)
    return _network_method(network, device, channels, scale, prepare, _crop)


def _recognised_network(options: RecognisedRestorerOptions, device: torch.device) -> Method:
    """Restore with a network of another author, which pads its input itself.

    Its input is the degraded image, enlarged if the output would be smaller than the ground truth; the output is
    resized to the ground truth. With ``shrink_input``, the input has 1/scale of the size of the ground truth.
    """
    network = load_network(options.pretrain_network_g, options.param_key_g)
    scale = network.scale
    if options.shrink_input:
        return _network_method(
            network, device, network.num_in_ch, scale, partial(_shrink, scale=scale, multiple=1), _crop
        )
    return _network_method(network, device, network.num_in_ch, scale, partial(_enlarge, scale=scale), fit)


def _network_method(
    network: nn.Module,
    device: torch.device,
    channels: int,
    scale: int,
    prepare: Callable[[np.ndarray, tuple[int, int]], np.ndarray],
    fit_output: Callable[[np.ndarray, int, int], np.ndarray],
) -> Method:
    """Restore with a network.

    Args:
        network: maps ``(N, channels, H, W)`` in [0, 1] to ``(N, channels, scale * H, scale * W)``.
        device: device to move it to.
        channels: 1 for grey images, 3 for RGB.
        scale: ratio of output size to input size.
        prepare: resizes and pads a degraded image for the network, given the size of the result.
        fit_output: crops or resizes the output to height and width.
    """
    network = network.to(device).eval().requires_grad_(False)

    def network_input(degraded: np.ndarray, size: tuple[int, int]) -> Tensor:
        return _to_tensor(prepare(_with_channels(degraded, channels), size)).to(device)

    def restore(degraded: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        with torch.inference_mode():
            x = network_input(degraded, size)
            y = network(x)
        if y.shape[2:] != (x.shape[2] * scale, x.shape[3] * scale):
            raise ValueError(
                f'the network returns {y.shape[3]}x{y.shape[2]} pixels for an input of {x.shape[3]}x{x.shape[2]}, '
                f'which does not match scale: {scale}'
            )
        image = fit_output(_to_array(y), *size)
        return np.rint(255 * image.clip(0, 1)).astype(np.uint8)

    return Method(restore, network, network_input)


def _build_network(options: NetworkRestorerOptions) -> nn.Module:
    """Build a network from ``network_g``, or from the options in its weights file, and load the weights."""
    from basicsr.archs import build_network
    from basicsr.utils.registry import ARCH_REGISTRY

    path = options.pretrain_network_g
    state_dict, options_in_file = read_weights(path, options.param_key_g) if path else ({}, {})
    if not options.network_g and options_in_file.get('type', NAME) == NAME:
        return build_generator(state_dict, options_in_file)
    network_options = options.network_g.model_dump() if options.network_g else options_in_file
    raise_first(problems_of_call('network_g', network_options, registered_names(ARCH_REGISTRY)))
    network = build_network(network_options)
    if path:
        state_dict = {key.removeprefix('module.'): value for key, value in state_dict.items()}
        try:
            network.load_state_dict(state_dict, strict=bool(options.strict_load_g))
        except RuntimeError as error:
            raise ValueError(f'{path}: {error}') from error
    return GuideInChannels(network) if getattr(network, 'takes_guide', False) else network


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Return an image ``(H, W, 3)`` with the number of channels of a network's input.

    Raises:
        ValueError: the network takes grey images, and this one is in colour.
    """
    if channels != 1:
        return image
    if (image != image[..., :1]).any():
        raise ValueError(
            'the network takes grey images, and this one is in colour: use a grey test set (for a DegradationDataset, '
            'set color: grey)'
        )
    return image[..., :1]


def _shrink(degraded: np.ndarray, size: tuple[int, int], *, scale: int, multiple: int) -> np.ndarray:
    """Resize a degraded image to 1/scale of the size of the result, padded to ``multiple``."""
    if (degraded.shape[0] * scale, degraded.shape[1] * scale) == size:
        return _pad(degraded, multiple)
    image = _pad(fit(degraded, *size), multiple * scale)
    return fit(image, image.shape[0] // scale, image.shape[1] // scale)


def _enlarge(degraded: np.ndarray, size: tuple[int, int], *, scale: int) -> np.ndarray:
    """Enlarge a degraded image if ``scale`` times its size is less than the size of the result."""
    height, width = (max(side, -(-full // scale)) for side, full in zip(degraded.shape[:2], size))
    return fit(degraded, height, width)


def _pad(image: np.ndarray, multiple: int) -> np.ndarray:
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode='symmetric')


def _crop(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return image[:height, :width]


def _to_tensor(image: np.ndarray) -> Tensor:
    """Convert uint8 ``(H, W, C)`` to float32 ``(1, C, H, W)`` in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].float() / 255


def _to_array(output: Tensor) -> np.ndarray:
    """Convert the output of a network, ``(1, 1 or 3, H, W)``, to float32 RGB ``(H, W, 3)``."""
    if not output.isfinite().all():
        raise NotFiniteError(f'the output of the network has {(~output.isfinite()).sum()} NaN or infinite values')
    return with_channels(output, 3)[0].float().permute(1, 2, 0).cpu().numpy()
