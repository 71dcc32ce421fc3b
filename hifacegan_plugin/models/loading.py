"""Loading of weights into the networks of a training or test."""

from __future__ import annotations

import logging

from torch import Tensor, nn

from hifacegan_plugin.archs.published_layouts import to_plugin_layout, without_markers
from hifacegan_plugin.weights import read_weights

logger = logging.getLogger('basicsr.hifacegan_plugin')


def load_weights(network: nn.Module, path: str, strict: bool, param_key: str) -> None:
    """Load weights of any published layout, without executing pickled code.

    Args:
        network: the unwrapped network; changed in place.
        path: path of the weights file.
        strict: whether all weights must fit; otherwise, load those that fit and log the others.
        param_key: which weights to load if the file has several, ``params`` or ``params_ema``.

    Raises:
        WeightsError: the file is damaged or not a weights file.
        RuntimeError: the weights do not fit (the message suggests options that fit), or, without ``strict``, none fits.
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
    """Return the weights that fit the network; log those that do not fit or are missing.

    Raises:
        RuntimeError: none of the weights fits.
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
