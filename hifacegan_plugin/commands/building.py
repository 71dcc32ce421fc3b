"""The options and the report that ``hifacegan lmdb``, ``pairs`` and ``align`` share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hifacegan_plugin.commands.arguments import positive_whole
from hifacegan_plugin.commands.failing import complain
from hifacegan_plugin.images.opening import MAX_PIXELS
from hifacegan_plugin.prepare.resumable_build import Run, Summary, report_path


def add_size_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--size``, of the builds that resize whole images."""
    parser.add_argument(
        '--size', type=positive_whole, metavar='N',
        help='resize the shorter side to N pixels: area interpolation to shrink, bicubic to enlarge',
    )  # fmt: skip


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of all builds."""
    parser.add_argument(
        '--list', type=Path, metavar='FILE',
        help='use only the images that this file names, one a line, relative to the input folder (hifacegan '
        'split writes such lists)',
    )  # fmt: skip
    parser.add_argument(
        '--max-pixels', type=positive_whole, default=MAX_PIXELS, metavar='N',
        help='reject images that are larger, without decoding them, or that resizing would make larger (default: '
        '%(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--compression-level', type=int, choices=range(1, 10), default=1, metavar='1-9',
        help='compression level of PNG (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--jobs', type=positive_whole, default=os.cpu_count(), metavar='N',
        help='number of processes (default: all cores, here %(default)s)',
    )  # fmt: skip
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        '--resume', action='store_true',
        help='continue an interrupted build; start if there is none; do nothing if it is complete',
    )  # fmt: skip
    either.add_argument(
        '--overwrite', action='store_true',
        help='start again; the old result is replaced when the new one is complete',
    )  # fmt: skip


def how_to_build(arguments: argparse.Namespace) -> Run:
    """Return how a build is to run."""
    return Run(arguments.jobs, arguments.resume, arguments.overwrite)


def report_build(arguments: argparse.Namespace, target: Path, summary: Summary) -> int:
    """Print what was built; return the exit status: 0 all images are in, 1 some were rejected."""
    print(f'{target}: {summary.stored} images')
    if not summary.rejected:
        return 0
    complain(arguments, f'{summary.rejected} images rejected, see {report_path(target)}')
    return 1
