"""``hifacegan convert -w net_g.pth -o net_g.safetensors``: weights of any kind as safetensors, with their options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hifacegan_plugin.archs.replenishment import NORMS
from hifacegan_plugin.weights import WeightsError, generator_options, load_generator, write_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan convert``."""
    parser.add_argument('-w', '--weights', required=True, type=Path, help='generator weights, .pth or .safetensors')
    parser.add_argument('-o', '--output', required=True, type=Path, help='the file to write, .safetensors')
    parser.add_argument('--param-key', help='which weights of a checkpoint: params or params_ema (default: the latter)')
    parser.add_argument('--norm', choices=NORMS, help='what the network was trained with, if the file does not tell')
    parser.add_argument(
        '--global-residual', action='store_true', default=None, help='the network predicts a correction (see --norm)'
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert one file; 0 if all went well."""
    given = {'norm': arguments.norm, 'global_residual': arguments.global_residual}
    try:
        if arguments.output.suffix != '.safetensors':
            raise WeightsError(f'{arguments.output}: the file to write must end in .safetensors.')
        given = {key: value for key, value in given.items() if value is not None}
        generator = load_generator(arguments.weights, arguments.param_key, **given)
        write_weights(arguments.output, generator.state_dict(), generator_options(generator))
    except WeightsError as error:
        print(f'hifacegan convert: {error}', file=sys.stderr)
        return 2
    described = ', '.join(f'{key}: {value}' for key, value in generator_options(generator).items())
    print(f'{arguments.output}: written ({described})')
    return 0
