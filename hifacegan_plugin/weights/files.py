"""Read and write weights files without executing code in them.

Supported are ``.pth`` and ``.safetensors`` files: checkpoints of this plugin, the host (``params``, ``params_ema``) and
other programs, and the published state dicts of the reference implementation and BasicSR. This plugin's files also
contain the options of the network: under ``network_g`` in a checkpoint, as JSON in the metadata of a safetensors file.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hifacegan_plugin.system.files import whole_file

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

OPTIONS_KEY = 'network_g'  # options of the network, in checkpoints and in the metadata of safetensors files
CARD_KEY = 'model_card'  # model card, in the metadata of safetensors files
FOREIGN_BEGINNINGS = {
    b'<!': 'a web page',
    b'<html': 'a web page',
    b'version https:': 'a pointer of Git LFS (git lfs pull gets the file)',
}
ZIP_BEGINNING = b'PK'  # checkpoints are ZIP files
PARAM_KEYS = ('params_ema', 'params')  # in the host's checkpoints; the first one found is used
OTHER_KEYS = ('params-ema', 'state_dict', 'model_state_dict', 'model', 'net')  # in checkpoints of other programs


class WeightsError(ValueError):
    """A weights file that cannot be used; the message names the file and the fix."""


def read_weights(path: str | Path, param_key: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a state dict and the options of its network from a ``.pth`` or ``.safetensors`` file.

    Args:
        path: weights file.
        param_key: key of the weights in a checkpoint. None uses the first of ``params_ema``, ``params`` and the keys of
            other programs, such as ``state_dict``; without these, the file itself is the state dict. If ``params`` or
            ``params_ema`` is given but missing, this is logged and None is used.

    Returns:
        The state dict on the CPU, in the layout of the file (networks convert it when they load it), and the options of
        the network, empty if the file has none.

    Raises:
        WeightsError: the file is missing, unreadable, damaged or not a weights file; it contains code, non-finite
            values, or sparse, quantised or 8-bit tensors; or ``param_key`` is missing.
    """
    path = Path(path)
    try:
        _check_beginning(path)
        read = _read_safetensors if path.suffix == '.safetensors' else partial(_read_checkpoint, param_key=param_key)
        state_dict, options = read(path)
    except FileNotFoundError as error:
        raise WeightsError(f'{path}: there is no such weights file. Check the path.') from error
    except IsADirectoryError as error:
        raise WeightsError(f'{path}: is a folder. Give a weights file in it, such as net_g_latest.pth.') from error
    except OSError as error:
        raise WeightsError(f'{path}: cannot be read ({error.strerror or error}). Check its permissions.') from error
    odd = [key for key, value in state_dict.items() if not _is_plain(value)]
    if odd:
        raise WeightsError(
            f'{path}: {len(odd)} tensors are sparse, quantised, 8-bit or incomplete, such as {odd[0]}. '
            'Use the original file in 16 or 32 bits.'
        )
    damaged = [key for key, value in state_dict.items() if not value.isfinite().all()]
    if damaged:
        raise WeightsError(
            f'{path}: {len(damaged)} tensors have values that are not finite, such as {damaged[0]}. '
            'The training diverged or the file is damaged; use an earlier checkpoint.'
        )
    return state_dict, options


def write_weights(
    path: str | Path,
    state_dict: Mapping[str, Tensor],
    options: Mapping[str, Any],
    card: Mapping[str, Any] | None = None,
) -> None:
    """Write a safetensors file atomically, with the network's options in its metadata.

    Args:
        path: file to write.
        state_dict: weights; their data type is kept.
        options: options of the network.
        card: model card, such as training data and metrics; see :func:`read_card`.

    Raises:
        WeightsError: the file cannot be written.
    """
    path = Path(path)
    tensors = {key: value.detach().cpu().contiguous() for key, value in state_dict.items()}
    metadata = {'format': 'pt', OPTIONS_KEY: json.dumps(dict(options))}
    metadata |= {CARD_KEY: json.dumps(dict(card))} if card else {}
    try:
        with whole_file(path) as part:
            part.write_bytes(save(tensors, metadata))  # save_file would make the file readable only by its owner
    except (OSError, SafetensorError) as error:
        raise WeightsError(f'{path}: cannot be written ({error}). Check folder, permissions and space.') from error


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the model card of a file written by :func:`write_weights`; empty if it has none.

    Raises:
        OSError, SafetensorError, ValueError: the file cannot be read.
    """
    with safe_open(path, 'pt') as file:
        return dict(json.loads((file.metadata() or {}).get(CARD_KEY, '{}')))


def _check_beginning(path: Path) -> None:
    """Refuse files that are often mistaken for weights, which would otherwise be reported as damaged."""
    with path.open('rb') as file:
        beginning = file.read(16)
    for start, what in FOREIGN_BEGINNINGS.items():
        if beginning.startswith(start):
            raise WeightsError(f'{path}: is {what}. Download the file itself.')
    if not beginning:
        raise WeightsError(f'{path}: is empty (0 bytes). Copy or download it again.')
    if beginning[8:9] == b'{' and path.suffix != '.safetensors':
        raise WeightsError(f'{path}: is a safetensors file. Rename it to {path.stem}.safetensors.')
    if beginning.startswith(ZIP_BEGINNING) and path.suffix == '.safetensors':
        raise WeightsError(f'{path}: is not a safetensors file. If it is a checkpoint, rename it to {path.stem}.pth.')


def _is_plain(value: Tensor) -> bool:
    """Return whether a tensor is dense, has all its values, and has a data type that torch can compute with."""
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        return False
    computable = value.element_size() > 1 or not value.is_floating_point()
    return computable and value.nbytes <= value.untyped_storage().nbytes()


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, 'pt') as file:
            metadata = file.metadata() or {}
            state_dict = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f'{path}: damaged or not a safetensors file ({error}). Copy it again.') from error
    try:
        return state_dict, _as_options(path, json.loads(metadata.get(OPTIONS_KEY, '{}')))
    except json.JSONDecodeError as error:
        raise WeightsError(f'{path}: its metadata {OPTIONS_KEY} is not JSON ({error}). Convert it again.') from error


def _read_checkpoint(path: Path, param_key: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        if forbidden := re.search(r'GLOBAL (\S+)', str(error)):
            raise WeightsError(
                f'{path}: refused, because it holds more than tensors: reading it would call {forbidden[1]}. '
                'Get the weights from a source you trust, as safetensors or a plain state dict.'
            ) from error
        raise WeightsError(f'{path}: damaged or not a weights file. Copy or download it again.') from error
    if not isinstance(content, Mapping):
        raise WeightsError(f'{path}: holds a {type(content).__name__} instead of weights. Give a net_g_*.pth file.')
    key = _choose_param_key(path, content, param_key)
    state_dict = content[key] if key else content
    if not isinstance(state_dict, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state_dict.items()
    ):
        what = 'a training state (*.state)' if 'optimizers' in content else 'something other than weights'
        raise WeightsError(f'{path}: holds {what}. Give a net_g_*.pth file.')
    return dict(state_dict), _as_options(path, content.get(OPTIONS_KEY, {}) if key else {})


def _as_options(path: Path, options: Any) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise WeightsError(f'{path}: its {OPTIONS_KEY} is a {type(options).__name__} instead of options.')
    return dict(options)


def _choose_param_key(path: Path, content: Mapping[str, Any], wanted: str | None) -> str | None:
    """Return the key of the weights in a checkpoint; None if it is a state dict itself."""
    there = [key for key in (*PARAM_KEYS, *OTHER_KEYS) if isinstance(content.get(key), Mapping)]
    if wanted is not None and isinstance(content.get(wanted), Mapping):
        return wanted
    key = there[0] if there else None
    if wanted in PARAM_KEYS:  # a training without ema_decay has no params_ema, and published files have neither
        logger.info(f'Weights: {wanted} does not exist, using {key or "the file itself"}.')
    elif wanted is not None:
        holds = f'those under {", ".join(there)}' if there else 'one set of weights, under no key'
        fix = f'Give {" or ".join(there)}' if there else 'Leave the key out'
        raise WeightsError(f'{path}: has no weights under the key {wanted!r}, but {holds}. {fix}.')
    return key
