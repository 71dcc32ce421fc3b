"""What ``hifacegan lmdb``, ``pairs`` and ``align`` share: the options of a build, and what is said of its result."""

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
        help='resize to a shorter side of N pixels: by area means where an image shrinks, bicubically where it grows',
    )  # fmt: skip


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of all builds."""
    parser.add_argument(
        '--list', type=Path, metavar='FILE',
        help='take only the images that this file names, one on each line, relative to the input folder (hifacegan '
        'split writes such lists)',
    )  # fmt: skip
    parser.add_argument(
        '--max-pixels', type=positive_whole, default=MAX_PIXELS, metavar='N',
        help='reject images that are larger, without decoding them, or that resizing would make larger (default: '
        '%(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--compression-level', type=int, choices=range(1, 10), default=1, metavar='1-9',
        help='of the PNG encoder (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--jobs', type=positive_whole, default=os.cpu_count(), metavar='N',
        help='images worked on at a time (default: all cores, here %(default)s)',
    )  # fmt: skip
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        '--resume', action='store_true',
        help='continue an interrupted build; start where there is none; do nothing where it is complete',
    )  # fmt: skip
    either.add_argument(
        '--overwrite', action='store_true',
        help='start afresh; what was built before is replaced when the new build is complete',
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
