"""``hifacegan convert net_g.pth net_g.safetensors``: weights of any kind as safetensors with the network's options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hifacegan_plugin.archs.csr_arch import NORMS
from hifacegan_plugin.weights import WeightsError, build_generator, generator_options, read_weights, write_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan convert``."""
    parser.add_argument('source', type=Path, help='generator weights, .pth or .safetensors')
    parser.add_argument('target', type=Path, help='the file to write, .safetensors')
    parser.add_argument('--param-key', help='which weights of a checkpoint: params or params_ema (default: the latter)')
    parser.add_argument('--norm', choices=NORMS, help='what the network was trained with, if the file does not tell')
    parser.add_argument(
        '--global-residual', action='store_true', default=None, help='the network predicts a correction (see --norm)'
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert one file; 0 if all went well."""
    given = {'norm': arguments.norm, 'global_residual': arguments.global_residual}
    try:
        if arguments.target.suffix != '.safetensors':
            raise WeightsError(f'{arguments.target}: the file to write must end in .safetensors.')
        state_dict, options = read_weights(arguments.source, arguments.param_key)
        options |= {key: value for key, value in given.items() if value is not None}
        generator = build_generator(state_dict, options)
        write_weights(arguments.target, generator.state_dict(), generator_options(generator))
    except WeightsError as error:
        print(f'hifacegan convert: {error}', file=sys.stderr)
        return 2
    described = ', '.join(f'{key}: {value}' for key, value in generator_options(generator).items())
    print(f'{arguments.target}: written ({described})')
    return 0
