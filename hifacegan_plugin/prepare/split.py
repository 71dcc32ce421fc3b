"""Split a folder of pictures into parts: text files with one name on each line, for create_lmdb.py --list.

    python data_prep/split.py -i datasets/ffhq/images1024x1024 -o datasets/ffhq_split --ffhq
    python data_prep/split.py -i datasets/faces -o datasets/faces_split --parts train=0.9 val=0.05 test=0.05

--ffhq is the split of the HiFaceGAN paper: the pictures 00000 to 09999 for training, 65000 to 69999 for testing.

--parts draws each picture's part from a hash of its name without the suffix: the same name falls into the same part on
every machine, in every copy of the folder, whatever else lies in it, and a degraded copy of a picture goes where the
picture goes. The parts have the wanted shares on average, not to the picture.

Exit status: 0 done, 1 done, but the folder lacks pictures of the FFHQ split, 2 nothing was written.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import re
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path, PurePosixPath

from hifacegan_plugin.prepare.build_command import read_names
from hifacegan_plugin.prepare.resumable_build import BuildError

FFHQ_PARTS = {'train': range(10_000), 'test': range(65_000, 70_000)}


def split_ffhq(names: Sequence[str]) -> dict[str, list[str]]:
    """Take the paper's parts of FFHQ; pictures that are in neither are left out.

    Args:
        names: File names of FFHQ: the picture's number, in any folder, with any suffix.

    Raises:
        BuildError: A name is no number, or two files have the same one.
    """
    numbered = {}
    for name in names:
        stem = PurePosixPath(name).stem
        if re.fullmatch(r'\d{5}', stem) is None:
            raise BuildError(f'{name} is no name of an FFHQ picture (00000.png to 69999.png): use --parts')
        if int(stem) in numbered:
            raise BuildError(f'{name} and {numbered[int(stem)]} are the same FFHQ picture: name one folder of them')
        numbered[int(stem)] = name
    return {part: [numbered[number] for number in ids if number in numbered] for part, ids in FFHQ_PARTS.items()}


def split_by_hash(names: Sequence[str], shares: Mapping[str, float], seed: int = 0) -> dict[str, list[str]]:
    """Split into parts of the given shares (they add up to 1) by a hash of each name without its suffix."""
    *ends, _ = accumulate(shares.values())
    lists = [[] for _ in shares]
    for name in names:
        stem = str(PurePosixPath(name).with_suffix(''))
        digest = hashlib.sha256(f'{seed}/'.encode() + os.fsencode(stem)).digest()
        lists[bisect_right(ends, int.from_bytes(digest[:8], 'big') / 2**64)].append(name)
    return dict(zip(shares, lists, strict=True))


def write_lists(folder: Path, parts: Mapping[str, Sequence[str]], overwrite: bool) -> None:
    """Write `PART.txt` of every part.

    Raises:
        BuildError: One of the files is there already, or cannot be written, or a name does not fit into a line.
    """
    broken = [name for name in chain.from_iterable(parts.values()) if re.search(r'[\r\n]', name)]
    if broken:
        raise BuildError(f'{broken[0]!r} has a line break in its name, and a list has a name on each line: rename it')
    paths = {part: folder / f'{part}.txt' for part in parts}
    there = [str(path) for path in paths.values() if path.exists()]
    if there and not overwrite:
        raise BuildError(f'{" ".join(there)}: there already, --overwrite replaces what is there')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part, names in parts.items():
            draft = paths[part].with_suffix('.partial')
            draft.write_text(''.join(f'{name}\n' for name in names), encoding='utf-8', errors='surrogateescape')
            draft.replace(paths[part])
    except OSError as error:
        raise BuildError(f'cannot write {error.filename}: {error.strerror}') from error


def parse_share(text: str) -> tuple[str, float]:
    """Read `name=share`."""
    match = re.fullmatch(r'([\w-]+)=(\d*\.?\d+)', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r}: name=share is wanted, for example train=0.9')
    return match[1], float(match[2])


def parse_arguments() -> argparse.Namespace:
    """Read the command line; `parts` becomes a dictionary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='FOLDER', help='the pictures')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='FOLDER', help='where the lists go')
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument('--ffhq', action='store_true', help='the split of the paper')
    how.add_argument('--parts', type=parse_share, nargs='+', metavar='NAME=SHARE', help='shares that add up to 1')
    parser.add_argument('--seed', type=int, default=0, help='another seed, another split by shares (default: 0)')
    parser.add_argument('--overwrite', action='store_true', help='replace lists that are there')
    arguments = parser.parse_args()
    if arguments.parts:
        if len(dict(arguments.parts)) < len(arguments.parts):
            parser.error('--parts names a part twice')
        arguments.parts = dict(arguments.parts)
        if not math.isclose(sum(arguments.parts.values()), 1):
            parser.error(f'--parts add up to {sum(arguments.parts.values()):g}, not to 1')
    return arguments


def main() -> int:
    """Run the command; returns the exit status."""
    arguments = parse_arguments()
    try:
        names = read_names(arguments.input)
        parts = split_ffhq(names) if arguments.ffhq else split_by_hash(names, arguments.parts, arguments.seed)
        for part, members in parts.items():
            if not members:
                raise BuildError(f'{arguments.input} has no picture for the part {part}')
        write_lists(arguments.output, parts, arguments.overwrite)
    except BuildError as error:
        print(f'split.py: {error}', file=sys.stderr)
        return 2
    status = 0
    for part, members in parts.items():
        print(f'{arguments.output / part}.txt: {len(members)} pictures')
        if arguments.ffhq and len(members) < len(FFHQ_PARTS[part]):
            print(f'split.py: {arguments.input} lacks {len(FFHQ_PARTS[part]) - len(members)} of the '
                  f'{len(FFHQ_PARTS[part])} FFHQ pictures of {part}', file=sys.stderr)
            status = 1
    return status

