"""Build the network that a weights file belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hifacegan_plugin.archs.csr.fast import FastCSR
from hifacegan_plugin.archs.csr.network import NAME, CSRNetwork
from hifacegan_plugin.archs.csr.shapes import is_generator, read_generator_options
from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.weights.files import WeightsError, read_weights
from hifacegan_plugin.weights.recognised import RecognisedNetwork, recognise

# Networks that restore images; both have num_in_ch, scale, smallest_side, multiple and reach.
Network = CSRNetwork | RecognisedNetwork


def build_generator(state_dict: Mapping[str, Tensor], options: Mapping[str, Any]) -> CSRNetwork:
    """Build the ``CSRGenerator`` that a state dict belongs to, with these weights, in eval mode.

    Most options are read from the shapes of the weights. ``norm`` and ``global_residual`` are read from ``options``, or
    from markers in the state dict; their defaults are ``batch`` and False.

    Raises:
        WeightsError: these are not the complete weights of a ``CSRGenerator``.
    """
    untraced = {key: options[key] for key in ('norm', 'global_residual') if key in options}
    try:
        read = read_generator_options(state_dict) | untraced
        halvings = read.pop('halvings', 0)
        if read['preset'] == FastCSR.preset:
            read.pop('global_residual', None)  # files of earlier releases may contain it, without effect
        with torch.device('meta'):  # takes no memory, whatever size the shapes claim
            generator = CSRGenerator(**read)
        generator.load_state_dict({key: _as_float32(value) for key, value in state_dict.items()}, assign=True)
    except (ValueError, RuntimeError) as error:
        raise WeightsError(
            f'{str(error).rstrip(".")}. Give a net_g_*.pth file of this plugin or a published generator.'
        ) from error
    if halvings:
        raise WeightsError(
            f'these weights are from a coarse phase of progressive training, which returns images of 1/{2**halvings} '
            'of the size. Use a later checkpoint.'
        )
    return generator.eval()


def _as_float32(value: Tensor) -> Tensor:
    """Copy a floating-point tensor to float32, into aligned memory; that of a file may be unaligned."""
    return value.to(torch.float32, copy=True) if value.is_floating_point() else value


def load_generator(
    path: str | Path, param_key: str | None = None, norm: str | None = None, global_residual: bool | None = None
) -> CSRNetwork:
    """Read a weights file and build its ``CSRGenerator``, in eval mode.

    Args:
        path: weights file.
        param_key: see :func:`~hifacegan_plugin.weights.read_weights`.
        norm: overrides the option in the file.
        global_residual: overrides the option in the file.

    Raises:
        WeightsError: see :func:`~hifacegan_plugin.weights.read_weights` and :func:`build_generator`.
    """
    state_dict, options = read_weights(path, param_key)
    try:
        return build_generator(state_dict, options | _given(norm=norm, global_residual=global_residual))
    except WeightsError as error:
        raise WeightsError(f'{path}: {error}') from error


def load_network(
    path: str | Path, param_key: str | None = None, norm: str | None = None, global_residual: bool | None = None
) -> Network:
    """Read a weights file and build its network, a ``CSRGenerator`` or a network of another author, in eval mode.

    Args:
        path: weights file.
        param_key: see :func:`~hifacegan_plugin.weights.read_weights`.
        norm: see :func:`load_generator`; only for a ``CSRGenerator``.
        global_residual: see :func:`load_generator`; only for a ``CSRGenerator``.

    Raises:
        WeightsError: see :func:`load_generator` and :func:`~hifacegan_plugin.weights.recognised.recognise`.
    """
    state_dict, options = read_weights(path, param_key)
    given = _given(norm=norm, global_residual=global_residual)
    try:
        if is_generator(state_dict) or options.get('type') == NAME:
            return build_generator(state_dict, options | given)
        if 'type' in options:
            raise WeightsError(
                f'these are weights of {options["type"]}, a network of BasicSR: use hifacegan compare to restore with '
                'it.'
            )
        if given:
            raise WeightsError(f'{", ".join(given)} can only be given for a {NAME}, and this is another network.')
        return recognise(state_dict)
    except WeightsError as error:
        raise WeightsError(f'{path}: {error}') from error


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def generator_options(generator: CSRNetwork) -> dict[str, Any]:
    """Return the options of a network as stored under ``network_g`` in files."""
    return {'type': NAME, **generator.options}
