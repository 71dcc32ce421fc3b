"""Compare restorers on the same images: tables, and a page with a slider for each image.

    hifacegan compare -opt options/compare_demo.yml

The options file names test sets, restorers and metrics; docs/comparison.md explains it. The tables (Markdown, CSV,
JSON) and the page (HTML) are written to results/NAME. Without --resume, an earlier folder of that name is renamed.

Exit status: 0 all went well, 1 something failed and was left out, 2 there is no result.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import hifacegan_plugin
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.compare.server import start_server
from hifacegan_plugin.system.files import check_folder

LEFT_OUT = 1  # exit status: there are results, but something was left out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('-opt', required=True, metavar='FILE', help='options file, such as options/compare_demo.yml')
    parser.add_argument('-o', '--output', type=Path, metavar='FOLDER', help='default: results/NAME')
    parser.add_argument(
        '--resume', action='store_true',
        help='continue an earlier run with the same options, weights and data; otherwise its folder is '
        'renamed',
    )  # fmt: skip


@fails_on(ValueError, OSError)
def run(arguments: argparse.Namespace) -> int:
    """Compare the restorers of an options file; 0: all went well, 1: something failed, 2: there is no result."""
    print('Loading PyTorch and BasicSR, which takes a while ...', file=sys.stderr, flush=True)
    start_server()  # now, so that it loads them in parallel
    hifacegan_plugin.register()
    from hifacegan_plugin.compare.comparison import read_comparison
    from hifacegan_plugin.compare.runner import compare

    comparison = read_comparison(arguments.opt)
    output = arguments.output or Path('results') / comparison.name
    check_folder('-o', output.parent)
    problems = compare(comparison, output, arguments.resume)
    return LEFT_OUT if problems else 0
