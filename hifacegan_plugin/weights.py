"""Weights files of the generator: read without executing anything in them, written whole, made into a network.

Read are this plugin's and the host's checkpoints (``params``, ``params_ema``) and the state dicts that the reference
implementation and BasicSR published, as ``.pth`` or ``.safetensors``. What the weights themselves do not tell
(``norm``, ``global_residual``) stands beside them in this plugin's files: under ``network_g`` in a checkpoint, as JSON
in the metadata of a safetensors file.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.published_layouts import read_generator_options
from hifacegan_plugin.atomic import whole_file

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

OPTIONS_KEY = 'network_g'  # of the options, in checkpoints and in the metadata of safetensors files
# What leaves no trace in the weights, as tensors beside them, for programs that hand on nothing but tensors.
MARKERS: dict[str, tuple[str, Any]] = {
    'option.norm.rms': ('norm', 'rms'),
    'option.global_residual': ('global_residual', True),
}
PARAM_KEYS = ('params_ema', 'params')  # of the host's checkpoints; the first one found is taken


class WeightsError(ValueError):
    """A weights file that cannot be used; the message names the file and the mend."""


def read_weights(path: str | Path, param_key: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a state dict and the options of its network from a ``.pth`` or ``.safetensors`` file.

    Args:
        path: the file.
        param_key: which of the dictionaries of a host checkpoint; None: ``params_ema``, else ``params``, else the file
            is a state dict itself. One that is not there is replaced as the host does, with a log line.

    Returns:
        The state dict, on the CPU, in the layout that the file has (networks translate it when they load it), and the
        network's options, empty if the file holds none.

    Raises:
        WeightsError: if the file is missing, damaged, no weights file, holds values that are not finite, or would have
            to run code to be read.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f'{path}: there is no such weights file. Check the path.')
    if path.suffix == '.safetensors':
        state_dict, options = _read_safetensors(path)
    else:
        state_dict, options = _read_checkpoint(path, param_key)
    state_dict, marked = split_markers(state_dict)
    options = marked | options
    damaged = [key for key, value in state_dict.items() if not value.isfinite().all()]
    if damaged:
        raise WeightsError(
            f'{path}: {len(damaged)} tensors hold values that are not finite, such as {damaged[0]}. '
            'The training diverged or the file is damaged; take an earlier checkpoint.'
        )
    return state_dict, options


def write_weights(path: str | Path, state_dict: Mapping[str, Tensor], options: Mapping[str, Any]) -> None:
    """Write a safetensors file with the network's options in its metadata; it appears whole or not at all.

    Raises:
        WeightsError: if the file cannot be written.
    """
    path = Path(path)
    tensors = {key: value.detach().cpu().contiguous() for key, value in state_dict.items()}
    tensors |= {key: torch.ones(1) for key, (option, value) in MARKERS.items() if options.get(option) == value}
    metadata = {'format': 'pt', OPTIONS_KEY: json.dumps(dict(options))}
    try:
        with whole_file(path) as part:
            save_file(tensors, part, metadata)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f'{path}: cannot be written ({error}). Check folder, permissions and space.') from error


def split_markers(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Separate the weights from the options that tensors beside them mark."""
    options = dict(MARKERS[key] for key in state_dict if key in MARKERS)
    return {key: value for key, value in state_dict.items() if key not in MARKERS}, options


def build_generator(state_dict: Mapping[str, Tensor], options: Mapping[str, Any]) -> CSRGenerator:
    """Make the network that a state dict belongs to, with these weights, in eval() mode.

    Width, variant and channels are read off the weights; ``options`` adds ``norm`` and ``global_residual``, which leave
    no trace in them (without it: ``batch`` and False, as in all published files).

    Raises:
        WeightsError: if these are not the weights of a :class:`CSRGenerator`.
    """
    untraced = {key: options[key] for key in ('norm', 'global_residual') if key in options}
    try:
        generator = CSRGenerator(**read_generator_options(state_dict), **untraced)
        generator.load_state_dict(state_dict)
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f'{error}. Give a net_g_*.pth file of this plugin or a published generator.') from error
    return generator.eval()


def load_generator(path: str | Path, param_key: str | None = None) -> CSRGenerator:
    """Read a weights file and make its network, in eval() mode.

    Raises:
        WeightsError: as :func:`read_weights` and :func:`build_generator`; names the file.
    """
    state_dict, options = read_weights(path, param_key)
    try:
        return build_generator(state_dict, options)
    except WeightsError as error:
        raise WeightsError(f'{path}: {error}') from error


def generator_options(generator: CSRGenerator) -> dict[str, Any]:
    """Give the options of a network as they stand under ``network_g`` in a file."""
    names = ('num_in_ch', 'num_feat', 'variant', 'norm', 'global_residual')
    return {'type': type(generator).__name__, **{name: getattr(generator, name) for name in names}}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, 'pt') as file:
            metadata = file.metadata() or {}
            state_dict = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f'{path}: damaged or no safetensors file ({error}). Copy it anew.') from error
    try:
        options = json.loads(metadata.get(OPTIONS_KEY, '{}'))
    except json.JSONDecodeError as error:
        raise WeightsError(f'{path}: its metadata {OPTIONS_KEY} is no JSON ({error}). Convert it anew.') from error
    return state_dict, options


def _read_checkpoint(path: Path, param_key: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # a damaged pickle can fail in any way
        if forbidden := re.search(r'GLOBAL (\S+)', str(error)):
            raise WeightsError(
                f'{path}: refused, because it holds more than tensors: reading it would call {forbidden[1]}. '
                'Get the weights from a source you trust, as safetensors or a plain state dict.'
            ) from error
        raise WeightsError(f'{path}: damaged or no weights file. Copy or download it anew.') from error
    if not isinstance(content, Mapping):
        raise WeightsError(f'{path}: holds a {type(content).__name__} instead of weights. Give a net_g_*.pth file.')
    key = _choose_param_key(content, param_key)
    state_dict = content[key] if key else content
    if not isinstance(state_dict, Mapping) or not all(isinstance(value, Tensor) for value in state_dict.values()):
        what = 'a training state (*.state)' if 'optimizers' in content else 'something else than weights'
        raise WeightsError(f'{path}: holds {what}. Give a net_g_*.pth file.')
    options = content.get(OPTIONS_KEY, {}) if key else {}
    if not isinstance(options, Mapping):
        raise WeightsError(f'{path}: its entry {OPTIONS_KEY} is a {type(options).__name__} instead of options.')
    return dict(state_dict), dict(options)


def _choose_param_key(content: Mapping[str, Any], wanted: str | None) -> str | None:
    """Give the key under which the weights stand in a checkpoint; None: it is a state dict itself."""
    found = [key for key in (wanted, *PARAM_KEYS) if key in content]
    key = found[0] if found else None
    if wanted is not None and key != wanted:
        logger.info(f'Weights: {wanted} does not exist, using {key or "the file as it is"}.')
    return key

