"""The widths of both networks, and how to read the options of ``CSRGenerator`` from the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hifacegan_plugin.archs.published_layouts import read_untraced_options, rename

# preset: paper. All widths are in units of num_feat.
LEVEL_WIDTHS = (1, 2, 4, 8, 16, 16)  # of the pyramid, fine to coarse (paper, figure 2)
BLOCK_WIDTHS = (16, 16, 16, 8, 4, 2, 1)  # of the replenishment blocks, coarse to fine

# preset: fast
SCALES = (3, 4, 5, 6)  # valid values of ``num_scales``; with 6, the deepest level is as small as the paper's
FINEST_WIDTH = 2  # of the finest level and the last block; increases by one at each halving

TELLING_WEIGHTS = {
    'paper': 'blocks.0.spade_0.shared.weight',
    'fast': 'blocks.0.gamma.weight',
}  # only in weights of this network

Shapes = Mapping[str, tuple[int, ...]]  # by the keys in this plugin's layout


def read_generator_options(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the options of ``CSRGenerator`` from its weights, in any known layout.

    Returns:
        ``num_in_ch``, ``num_feat``, ``preset``, the other options that show in the shapes, and the options that
        :func:`~hifacegan_plugin.archs.published_layouts.read_untraced_options` returns.

    Raises:
        ValueError: the weights do not belong to such a network.
    """
    shapes = _shapes_of(state_dict)
    preset = _preset_of(shapes)
    if preset is None:
        raise ValueError('these are not weights of a HiFaceGAN generator: to_picture and blocks.0 are missing')
    read = _options_of_paper if preset == 'paper' else _options_of_fast
    return {'preset': preset} | read(shapes) | read_untraced_options(state_dict)


def is_generator(state_dict: Mapping[str, Tensor]) -> bool:
    """Return whether these are weights of a ``CSRGenerator`` in any known layout."""
    return _preset_of(_shapes_of(state_dict)) is not None


def _shapes_of(state_dict: Mapping[str, Tensor]) -> Shapes:
    return {rename(key): tuple(value.shape) for key, value in state_dict.items()}


def _preset_of(shapes: Shapes) -> str | None:
    """Return the preset of the network that has weights of these shapes; None for another network."""
    if len(shapes.get('to_picture.weight', ())) != 4:
        return None
    return next((preset for preset, key in TELLING_WEIGHTS.items() if len(shapes.get(key, ())) == 4), None)


def _options_of_paper(shapes: Shapes) -> dict[str, Any]:
    num_in_ch, num_feat = shapes['to_picture.weight'][:2]
    if shapes[TELLING_WEIGHTS['paper']][1] != num_in_ch:
        variant = 'csr'
    elif 'suppression.head.weight' in shapes:
        variant = 'lip_spade'
    else:
        variant = 'vae' if len(shapes.get('start.weight', ())) == 2 else 'spade'
    return {'num_in_ch': num_in_ch, 'num_feat': num_feat, 'variant': variant}


def _options_of_fast(shapes: Shapes) -> dict[str, Any]:
    num_scales = len({key.split('.')[1] for key in shapes if key.startswith('blocks.')})
    if num_scales not in SCALES:
        raise ValueError(f'these are weights of {num_scales} scales; CSRGenerator has one of {SCALES}')
    num_in_ch, width = shapes['to_picture.weight'][:2]
    return {'num_in_ch': num_in_ch, 'num_feat': width // FINEST_WIDTH, 'num_scales': num_scales}
