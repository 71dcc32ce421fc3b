"""Loading weights into the networks of a training or test."""

from __future__ import annotations

import logging

from torch import Tensor, nn

from hifacegan_plugin.archs.published_layouts import to_plugin_layout, without_markers
from hifacegan_plugin.weights import read_weights

logger = logging.getLogger('basicsr.hifacegan_plugin')


def load_weights(network: nn.Module, path: str, strict: bool, param_key: str) -> None:
    """Load weights of any published layout, without executing pickled code.

    Args:
        network: not wrapped; changed in place.
        path: of the weights file.
        strict: False takes what fits and logs the rest.
        param_key: which weights of a file of several, ``params`` or ``params_ema``.

    Raises:
        WeightsError: the file is damaged or no file of weights.
        RuntimeError: the weights are another network's: with ``strict``, says which options they look like; without,
            none of them fits.
    """
    state_dict, _ = read_weights(path, param_key)
    logger.info(f'Loading {type(network).__name__} from {path}.')
    try:
        if not strict:
            state_dict = _fitting_weights(state_dict, network)
        network.load_state_dict(state_dict, strict=strict)
    except RuntimeError as error:
        raise RuntimeError(f'{path}: {error}') from None


def _fitting_weights(state_dict: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return the weights that fit the network; log what is left out on either side.

    Raises:
        RuntimeError: none of them fits.
    """
    expected = without_markers(network.state_dict())
    state_dict = without_markers(to_plugin_layout(state_dict, expected))
    fitting = {k: v for k, v in state_dict.items() if k in expected and v.shape == expected[k].shape}
    if not fitting:
        raise RuntimeError(
            f'none of these weights fits {type(network).__name__}: use other weights, or ~ to start from scratch.'
        )
    for what, keys in (('new', set(expected) - set(fitting)), ('left out', set(state_dict) - set(fitting))):
        if keys:
            logger.warning(f'Partial load: {len(keys)} tensors {what}: {", ".join(sorted(keys)[:5])} ...')
    logger.info(f'Partial load: {len(fitting)} of {len(expected)} tensors of the network come from the file.')
    return fitting
