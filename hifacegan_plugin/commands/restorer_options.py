"""Options of the commands that restore: engine, device, precision and memory."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from hifacegan_plugin.commands.arguments import positive, positive_whole
from hifacegan_plugin.commands.network_options import given_options
from hifacegan_plugin.images.opening import MAX_PIXELS
from hifacegan_plugin.restore.engines.footprint import GIB
from hifacegan_plugin.restore.engines.inference import DTYPES
from hifacegan_plugin.restore.engines.starting import ENGINES
from hifacegan_plugin.restore.restorer import Restorer
from hifacegan_plugin.weights import PACKAGED, load_network


def add_restorer_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options, in a group of their own."""
    restoring = parser.add_argument_group('restoring')
    restoring.add_argument(
        '--engine', default='auto', choices=('auto', *ENGINES), help='what runs the network (default: auto)'
    )
    restoring.add_argument(
        '--device', default='auto', metavar='NAME',
        help='cpu, cuda, cuda:1 (the second), xpu (Intel) or mps (Apple); default: the first of these that works here, '
        'else the CPU',
    )  # fmt: skip
    restoring.add_argument('--dtype', default='float32', choices=DTYPES, help='precision (default: float32)')
    restoring.add_argument(
        '--keep-colour', action='store_true', help='keep brightness and colours of large areas as in the input'
    )
    restoring.add_argument(
        '--threads', type=positive_whole, metavar='N', help="processor cores to use (default: torch's choice)"
    )
    restoring.add_argument(
        '--memory', type=positive, metavar='GIB',
        help='memory limit for one image; larger images are restored in slower, memory-saving modes (default: 3; GPU: '
        'most of its free memory)',
    )  # fmt: skip
    restoring.add_argument(
        '--max-megapixels',
        type=positive,
        default=MAX_PIXELS / 1e6,
        metavar='MP',
        help='refuse larger images (default: %(default)g)',
    )


def open_restorer(arguments: argparse.Namespace, weights: Path) -> Restorer:
    """Open the restorer for a weights file, as the options say; ``--threads`` applies to the whole process.

    ``--norm`` and ``--global-residual`` do not apply to packaged networks, whose files state both. Under torchrun, each
    process uses its own CUDA device, unless a device is named.

    Raises:
        WeightsError: if the weights cannot be used.
        EngineError: if the engine or device is missing, or does not support the options.
    """
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.device in ('auto', 'cuda') and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
    memory = int(arguments.memory * GIB) if arguments.memory else None
    given = {} if weights in PACKAGED.values() else given_options(arguments)
    network = load_network(weights, **given)
    return Restorer(network, arguments.engine, arguments.dtype, memory, arguments.device, arguments.keep_colour)


def announce_scale(restorer: Restorer, weights: Path) -> None:
    """Print, from one process, that the results are larger than the images."""
    if int(os.environ.get('RANK', 0)) == 0:
        print(f'{weights.name} upscales: the results are {restorer.scale} times as wide and as high')


def max_pixels(arguments: argparse.Namespace) -> int:
    """Return the limit of pixels for an image."""
    return int(arguments.max_megapixels * 1e6)
