"""Restore images in the browser, on a page that this machine serves to itself alone.

    hifacegan app                       open http://127.0.0.1:7860
    hifacegan app -w net_g_latest.pth   with a network of your own to choose, too

Needs Gradio, and for faces dlib: pip install "hifacegan-plugin[app,faces]". Ctrl-C ends the page, and removes what was
uploaded and restored.

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
from hifacegan_plugin.commands.arguments import explain, positive, whole
from hifacegan_plugin.commands.failing import FAILED, complain, fails_on
from hifacegan_plugin.commands.network_options import add_network_options
from hifacegan_plugin.commands.restorer_options import add_restorer_options, max_pixels, open_restorer
from hifacegan_plugin.images.decoding import silence_codecs
from hifacegan_plugin.restore.engines.devices import EngineError
from hifacegan_plugin.restore.restorer import Restorer
from hifacegan_plugin.weights import PACKAGED, WeightsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan app``."""
    explain(parser, __doc__)
    parser.add_argument(
        '--host', default='127.0.0.1',
        help='name or address to listen on; 0.0.0.0: everybody in the network may use the page (default: %(default)s, '
        'this machine alone)',
    )  # fmt: skip
    parser.add_argument('--port', type=whole, default=7860, help='to listen on; 0: any (default: %(default)s)')
    parser.add_argument(
        '--max-megabytes', type=positive, default=200, metavar='MB', help='refuse larger files (default: %(default)s)'
    )
    network = parser.add_argument_group('network')
    network.add_argument(
        '-w', '--weights', type=Path, metavar='FILE',
        help='a network of your own to choose besides those that come with the package, .pth or .safetensors',
    )  # fmt: skip
    add_network_options(network)
    add_restorer_options(parser)


@fails_on(WeightsError, EngineError, OSError)
def run(arguments: argparse.Namespace) -> int:
    """Serve the page until a signal ends the process; 1 if the server ends by itself, 2 if it cannot begin."""
    if find_spec('gradio') is None:
        complain(arguments, 'the page takes gradio. Run: pip install "hifacegan-plugin[app]"')
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
    """Return what opens each network when it is first used, that of the user first.

    The first one is opened now, so that what is wrong with it or the options shows.
    """
    files = {arguments.weights.name: arguments.weights} if arguments.weights else {}
    networks = {name: cache(partial(open_restorer, arguments, path)) for name, path in (files | PACKAGED).items()}
    next(iter(networks.values()))()
    return networks
