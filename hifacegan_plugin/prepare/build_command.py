"""What the commands share that build from a folder of pictures: options, the list of pictures, the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hifacegan_plugin.images.files import is_image_name, list_files
from hifacegan_plugin.prepare.images import MAX_PIXELS
from hifacegan_plugin.prepare.resumable_build import BuildError, Summary, report_path


def positive(text: str) -> int:
    """Read a number of 1 or more."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f'{text!r}: a whole number from 1 up is wanted')
    return int(text)


def not_negative(text: str) -> int:
    """Read a number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r}: a whole number from 0 up is wanted')
    return int(text)


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all builds have."""
    parser.add_argument('--size', type=positive, help='resize to a shorter side of so many pixels: area means where '
                        'a picture shrinks, bicubic where it grows')
    parser.add_argument('--list', type=Path, metavar='FILE', help='take only the pictures it names, one on each line, '
                        'relative to the input folder (split.py writes such lists)')
    parser.add_argument('--max-pixels', type=positive, default=MAX_PIXELS, metavar='N',
                        help='reject pictures that are larger, undecoded, or that --size would make so '
                        '(default: %(default)s)')
    parser.add_argument('--compression-level', type=int, choices=range(1, 10), default=1, metavar='1-9',
                        help='of the PNG encoder (default: %(default)s)')
    parser.add_argument('--jobs', type=positive, default=os.cpu_count(), metavar='N',
                        help='pictures worked on at a time (default: all cores, here %(default)s)')
    either = parser.add_mutually_exclusive_group()
    either.add_argument('--resume', action='store_true', help='go on with an interrupted build; begin where there is '
                        'none; do nothing where it is whole')
    either.add_argument('--overwrite', action='store_true',
                        help='begin anew; what was built before is replaced when the new build is whole')


def read_names(folder: Path, list_file: Path | None = None) -> list[str]:
    """List the pictures of `folder`, or those that `list_file` names, one on each line, relative to `folder`.

    Raises:
        BuildError: The folder or the list is missing, unreadable or empty, or the list repeats a name.
    """
    try:
        if not folder.is_dir():
            raise BuildError(f'-i {folder}: no such folder')
        if list_file is None:
            files = list_files(folder, _fail)
            names = [name for name in files if is_image_name(name)]
            others = sorted(set(files) - set(names))
        else:
            # Some editors begin a file with a byte order mark.
            lines = list_file.read_text(encoding='utf-8-sig', errors='surrogateescape').split('\n')
            names, others = [name for name in lines if name], []
    except OSError as error:
        raise BuildError(f'{error.filename}: {error.strerror}') from error
    if others:
        suffixes = ', '.join(sorted({Path(name).suffix or 'no suffix' for name in others}))
        print(f'{folder}: left out, by their names no pictures: {len(others)} ({suffixes})')
    if not names:
        raise BuildError(f'{list_file or folder} has no pictures in it')
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise BuildError(f'{list_file} names {repeated[0]} more than once')
    return names


def _fail(error: OSError) -> None:
    raise error


def run_build(command: str, target: Path, work: Callable[[], Summary]) -> int:
    """Do the work and say how it went.

    Returns:
        The exit status: 0 all pictures are in, 1 some were rejected, 2 nothing was made, 130 stopped by the user.
    """
    try:
        summary = work()
    except BuildError as error:
        print(f'{command}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'{command}: stopped; --resume goes on with {target}', file=sys.stderr)
        return 130
    print(f'{target}: {summary.stored} pictures')
    if summary.rejected:
        print(f'{command}: {summary.rejected} pictures rejected, see {report_path(target)}', file=sys.stderr)
    return 1 if summary.rejected else 0
