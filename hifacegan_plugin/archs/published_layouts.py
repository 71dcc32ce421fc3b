"""Other layouts of weights: the names that the reference implementation and BasicSR give to the same parameters.

Published state dicts load unconverted; the networks translate their keys here. Shapes are never changed. Options that
do not show in the weights of this plugin's generator are stored as additional tensors, called markers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

# Published name -> name in this plugin. The pyramid is `encoder.*` in the paper's network and `lip_encoder.model.<n>`,
# four entries a level, in the checkpoints of the LIP-SPADE baseline; BasicSR writes g_middle for G_middle.
_RENAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r'^module\.', ''),
    (r'^encoder\.head\.0\.', 'suppression.head.'),
    (r'^encoder\.encoder_(\d)\.0\.logit\.0\.', r'suppression.levels.\1.pool.logit_conv.'),
    (r'^encoder\.encoder_(\d)\.0\.logit\.1\.', r'suppression.levels.\1.pool.logit_norm.'),
    (r'^encoder\.encoder_(\d)\.1\.', r'suppression.levels.\1.conv.'),
    (r'^lip_encoder\.model\.0\.', 'suppression.head.'),
    (r'^lip_encoder\.model\.(\d+)\.logit\.0\.', lambda m: f'suppression.levels.{int(m[1]) // 4}.pool.logit_conv.'),
    (r'^lip_encoder\.model\.(\d+)\.logit\.1\.', lambda m: f'suppression.levels.{int(m[1]) // 4}.pool.logit_norm.'),
    (r'^lip_encoder\.model\.(\d+)\.', lambda m: f'suppression.levels.{int(m[1]) // 4 - 1}.conv.'),
    (r'^fc\.', 'start.'),
    (r'^head_0\.', 'blocks.0.'),
    (r'^[gG]_middle_(\d)\.', lambda m: f'blocks.{int(m[1]) + 1}.'),
    (r'^ups\.(\d)\.', lambda m: f'blocks.{int(m[1]) + 3}.'),
    (r'^to_rgbs\.3\.', 'to_picture.'),
    (r'^to_rgbs\.([012])\.', r'coarse_outputs.\1.'),
    (r'\.norm_([01s])\.mlp_shared\.0\.', r'.spade_\1.shared.'),
    (r'\.norm_([01s])\.mlp_(gamma|beta)\.', r'.spade_\1.\2.'),
    (r'^discriminator_(\d)\.model(\d)\.(0\.)+', r'scales.\1.convs.\2.'),
    (r'\.weight_orig$', '.parametrizations.weight.original'),
    (r'\.weight_([uv])$', r'.parametrizations.weight.0._\1'),
)

# Tensors in files that a network may not need: batch statistics (eval() uses each image's own), the coarse outputs of
# progressive training, and the first layer of a network that starts from the last suppression level.
_DISPENSABLE = re.compile(r'\.param_free_norm\.|^coarse_outputs\.|^start\.')

# Markers: tensors in the state dict of a generator for options that do not show in its weights, name -> option and
# value. As tensors, they survive in programs that pass on tensors only. Files without markers are read as before.
MARKERS: dict[str, tuple[str, Any]] = {
    'option.norm.rms': ('norm', 'rms'),
    'option.global_residual': ('global_residual', True),
    **{f'option.halvings.{halvings}': ('halvings', halvings) for halvings in (1, 2, 3)},
}

# Name of the blocks in a file -> norm of its network, for files without batch statistics: the reference's "instance"
# norm is our rms, and BasicSR's is torch's instance norm.
_NORMS_WITHOUT_STATISTICS = {'G_middle_0.': 'rms', 'g_middle_0.': 'instance'}


def without_markers(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without its markers."""
    return {key: value for key, value in state_dict.items() if key not in MARKERS}


def to_plugin_layout(state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of any known layout; drop tensors that a network with the keys ``expected`` does not need.

    Unknown keys stay, so that a strict load can name them. Dropped keys are logged in one line.
    """
    renamed = {rename(key): value for key, value in state_dict.items()}
    dropped = [key for key in renamed if key not in expected and _DISPENSABLE.search(key)]
    if dropped:
        logger.info(f'Weights: dropped {len(dropped)} tensors that the network does not need, such as {dropped[0]}.')
    return {key: value for key, value in renamed.items() if key not in dropped}


def rename(key: str) -> str:
    """Translate one key; a key of this plugin's own layout stays as it is."""
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def read_untraced_options(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the options of ``CSRGenerator`` that stand beside its weights, not in them, in any known layout.

    Returns:
        What is marked: ``norm: rms``, ``global_residual``, the ``halvings`` of a coarse phase of progressive training.
        In the layouts of others, ``norm: rms`` or ``norm: instance`` where no statistics of a batch norm are kept.
    """
    options = dict(MARKERS[rename(key)] for key in state_dict if rename(key) in MARKERS)
    if not any('.param_free_norm.' in key for key in state_dict):
        for block, norm in _NORMS_WITHOUT_STATISTICS.items():
            if any(key.removeprefix('module.').startswith(block) for key in state_dict):
                options['norm'] = norm
    return options


def describe_mismatch(name: str, state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Describe why a state dict (in this plugin's layout) does not load into a network; empty if it loads.

    Args:
        name: name of the network, for the message.
        state_dict: the state dict to load.
        expected: the network's own state dict.
    """
    expected, state_dict = without_markers(expected), without_markers(state_dict)
    problems = {
        'missing': [key for key in expected if key not in state_dict],
        'unknown': [key for key in state_dict if key not in expected],
        'of another shape': [
            f'{key} {tuple(state_dict[key].shape)} instead of {tuple(value.shape)}'
            for key, value in expected.items()
            if key in state_dict and state_dict[key].shape != value.shape
        ],
        'of another type': [
            f'{key} {state_dict[key].dtype} instead of {value.dtype}'
            for key, value in expected.items()
            if key in state_dict and value.is_floating_point() and not state_dict[key].is_floating_point()
        ],
    }
    if not any(problems.values()):
        return ''
    lines = [f'These weights do not fit {name}.']
    for kind, keys in problems.items():
        if keys:
            more = f' and {len(keys) - 3} more' if len(keys) > 3 else ''
            lines.append(f'  {len(keys)} {kind}: {", ".join(keys[:3])}{more}')
    return '\n'.join(lines)
