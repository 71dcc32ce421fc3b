"""Restore images in the browser, on a page that only this machine can open by default.

    hifacegan app                       open http://127.0.0.1:7860
    hifacegan app -w net_g_latest.pth   offers your own network, too

Needs Gradio, and for faces dlib: pip install "hifacegan-plugin[app,faces]". Ctrl-C stops the server, and removes all
uploads and results.

Exit status: 128 + the number of the signal that ended it, 1 the server failed, 2 it could not start.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

from hifacegan_plugin.app.backend import Backend
from hifacegan_plugin.app.environment import listen, private_environment
from hifacegan_plugin.commands.arguments import positive, whole
from hifacegan_plugin.commands.failing import FAILED, complain, fails_on
from hifacegan_plugin.commands.network_options import add_network_options
from hifacegan_plugin.commands.restorer_options import add_restorer_options, max_pixels, open_restorer
from hifacegan_plugin.images.decoding import silence_codecs
from hifacegan_plugin.restore.engines.devices import EngineError
from hifacegan_plugin.restore.restorer import Restorer
from hifacegan_plugin.weights import PACKAGED, WeightsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan app``."""
    parser.add_argument(
        '--host', default='127.0.0.1',
        help='name or address to listen on; 0.0.0.0: everybody in the network can use the page (default: %(default)s, '
        'this machine only)',
    )  # fmt: skip
    parser.add_argument('--port', type=whole, default=7860, help='port to listen on; 0: any (default: %(default)s)')
    parser.add_argument(
        '--max-megabytes', type=positive, default=200, metavar='MB', help='refuse larger files (default: %(default)s)'
    )
    network = parser.add_argument_group('network')
    network.add_argument(
        '-w', '--weights', type=Path, metavar='FILE',
        help='weights of your own network, .pth or .safetensors, offered besides the packaged ones',
    )  # fmt: skip
    add_network_options(network)
    add_restorer_options(parser)


@fails_on(WeightsError, EngineError, OSError)
def run(arguments: argparse.Namespace) -> int:
    """Serve the page until a signal ends the process; 1 if the server ends by itself, 2 if it cannot begin."""
    if find_spec('gradio') is None:
        complain(arguments, 'the page needs gradio. Run: pip install "hifacegan-plugin[app]"')
        return FAILED
    networks = _networks(arguments)
    silence_codecs()
    with listen(arguments.host, arguments.port) as listener, private_environment() as folder:
        # Their imports take seconds; the errors above are shown before.
        from hifacegan_plugin.app.page import build_page
        from hifacegan_plugin.app.server import serve

        page = build_page(Backend(networks, max_pixels(arguments), folder))
        serve(page, listener, int(arguments.max_megabytes * 1e6))
    return 1


def _networks(arguments: argparse.Namespace) -> Mapping[str, Callable[[], Restorer]]:
    """Return a function to open each network at its first use, the user's network first.

    The first network is opened now, so that errors in it or in the options are reported at the start.
    """
    files = {arguments.weights.name: arguments.weights} if arguments.weights else {}
    networks = {name: cache(partial(open_restorer, arguments, path)) for name, path in (files | PACKAGED).items()}
    next(iter(networks.values()))()
    return networks
