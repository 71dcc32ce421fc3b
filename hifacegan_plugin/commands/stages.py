"""Show what each unit of the network restores.

    hifacegan stages -i image.png --model faces
    hifacegan stages -i image.png -w net_g_latest.pth -o stages

Writes three panels: the results with the guidance of the first n units only, the results without one unit, and what
each level of the network suppresses.

Exit status: 0 done, 2 nothing was written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2

from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.commands.network_options import add_network_options, given_options
from hifacegan_plugin.images.decoding import silence_codecs
from hifacegan_plugin.images.sources import read_rgb
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.restore.stages import draw_panels
from hifacegan_plugin.system.files import check_folder
from hifacegan_plugin.weights import PACKAGED, load_generator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan stages``."""
    parser.add_argument('-i', '--input', required=True, type=Path, metavar='IMAGE', help='degraded image')
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        '--model', choices=PACKAGED, default='general', help='a packaged network (default: %(default)s)'
    )
    weights.add_argument('-w', '--weights', type=Path, metavar='FILE', help='weights of the generator')
    parser.add_argument(
        '-o', '--output', type=Path, default=Path('results/stages'), metavar='FOLDER', help='default: results/stages'
    )
    parser.add_argument('--param-key', metavar='KEY', help='params_ema or params; default: the first that the file has')
    add_network_options(parser)
    parser.add_argument(
        '--mix', type=Path, metavar='IMAGE',
        help='mix with the guidance of this image, resized, instead of neutral guidance',
    )  # fmt: skip


@fails_on(ValueError, OSError)
def run(arguments: argparse.Namespace) -> int:
    """Write the panels; 0: done, 2: nothing was written."""
    silence_codecs()
    check_folder('-o', arguments.output)
    weights = arguments.weights or PACKAGED[arguments.model]
    generator = load_generator(weights, arguments.param_key, **given_options(arguments))
    image = read_rgb(arguments.input)
    other = None if arguments.mix is None else cv2.resize(read_rgb(arguments.mix), image.shape[1::-1])
    panels = draw_panels(generator, image, other)
    for name, panel in panels.items():
        file = arguments.output / f'{arguments.input.stem}_{name}.png'
        write_png(file, panel)
        print(file)
    if 'suppression' not in panels:
        print('No suppression maps: the variants spade and vae have no suppression modules.')
    return 0
