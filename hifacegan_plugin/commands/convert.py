"""Convert weights to safetensors, and store the options of the network in the file.

    hifacegan convert -w net_g_latest.pth -o net_g.safetensors

Exit status: 0 done, 2 nothing was written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hifacegan_plugin.commands.arguments import output_file
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.commands.network_options import add_network_options, given_options
from hifacegan_plugin.weights import WeightsError, generator_options, load_generator, write_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan convert``."""
    parser.add_argument('-w', '--weights', required=True, type=Path, help='generator weights, .pth or .safetensors')
    parser.add_argument('-o', '--output', required=True, type=output_file, help='the file to write, .safetensors')
    parser.add_argument('--param-key', help='which weights of a checkpoint: params or params_ema (default: the latter)')
    add_network_options(parser)


@fails_on(WeightsError)
def run(arguments: argparse.Namespace) -> int:
    """Convert one file; 0 if all went well."""
    if arguments.output.suffix != '.safetensors':
        raise WeightsError(f'{arguments.output}: the file to write must end in .safetensors.')
    generator = load_generator(arguments.weights, arguments.param_key, **given_options(arguments))
    options = generator_options(generator)
    write_weights(arguments.output, generator.state_dict(), options)
    described = ', '.join(f'{key}: {value}' for key, value in options.items())
    print(f'{arguments.output}: written ({described})')
    return 0
