"""Split a folder of images into parts: text files with one name a line, for hifacegan lmdb --list.

    hifacegan split -i datasets/ffhq/images1024x1024 -o datasets/ffhq_split --ffhq
    hifacegan split -i datasets/faces -o datasets/faces_split --parts train=0.9 val=0.05 test=0.05

--ffhq is the split of the HiFaceGAN paper: the images 00000 to 09999 for training, 65000 to 69999 for testing.

--parts derives the part of an image from a hash of its name without the suffix. So a name is in the same part on every
machine and in every copy of the folder, and a degraded copy is in the same part as its image. The shares are met on
average, not exactly.

Exit status: 0 done, 1 done, but the folder lacks images of the FFHQ split, 2 nothing was written.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from hifacegan_plugin.commands.failing import complain, fails_on
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.names import read_names
from hifacegan_plugin.prepare.split import FFHQ_PARTS, split_by_hash, split_ffhq, write_lists


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan split``."""
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='FOLDER', help='the images')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='FOLDER', help='folder for the lists')
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument('--ffhq', action='store_true', help='the split of the paper')
    how.add_argument('--parts', type=_share, nargs='+', metavar='NAME=SHARE', help='shares that add up to 1')
    parser.add_argument('--seed', type=int, default=0, help='seed of the split by shares (default: 0)')
    parser.add_argument('--overwrite', action='store_true', help='replace existing lists')


@fails_on(BuildError)
def run(arguments: argparse.Namespace) -> int:
    """Write the lists; 0 done, 1 images of the FFHQ split are missing, 2 nothing was written."""
    shares = _check_shares(arguments.parts or [])
    names = read_names(arguments.input)
    parts = split_ffhq(names) if arguments.ffhq else split_by_hash(names, shares, arguments.seed)
    for part, members in parts.items():
        if not members:
            raise BuildError(f'{arguments.input} has no image for the part {part}')
    write_lists(arguments.output, parts, arguments.overwrite)
    status = 0
    for part, members in parts.items():
        print(f'{arguments.output / part}.txt: {len(members)} images')
        wanted = len(FFHQ_PARTS[part]) if arguments.ffhq else 0
        if len(members) < wanted:
            complain(
                arguments, f'{arguments.input} lacks {wanted - len(members)} of the {wanted} FFHQ images of {part}'
            )
            status = 1
    return status


def _share(text: str) -> tuple[str, float]:
    """Read ``name=share``."""
    match = re.fullmatch(r'([\w-]+)=(\d*\.?\d+)', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r}: expected NAME=SHARE, for example train=0.9')
    return match[1], float(match[2])


def _check_shares(parts: list[tuple[str, float]]) -> dict[str, float]:
    """Return the share of each part.

    Raises:
        BuildError: a part occurs twice, or the shares do not add up to 1.
    """
    shares = dict(parts)
    if len(shares) < len(parts):
        raise BuildError('--parts names a part twice')
    if shares and not math.isclose(sum(shares.values()), 1):
        raise BuildError(f'--parts add up to {sum(shares.values()):g}, not to 1')
    return shares
