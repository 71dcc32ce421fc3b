"""Make an LMDB in BasicSR's format from a folder of pictures.

    python data_prep/create_lmdb.py -i datasets/ffhq/images1024x1024 -o datasets/ffhq_512.lmdb --size 512

PNG, JPEG and WebP files that need no change are copied byte for byte; everything else (another size or format, an
Exif rotation) is decoded and stored as PNG, with all cores. The database appears under its name when it is whole; until
then it lies beside it as .NAME.lmdb.partial, and --resume goes on after a kill, a power cut or a full disk. Pictures
that cannot be taken are listed with the reason in NAME.lmdb.rejected.tsv.

Sub-folders are read too. Keys: 00001.png has the key 00001, a/b 1.png the key a%2Fb%201 (see lmdb_keys.py).

Exit status: 0 all pictures are in, 1 some were rejected, 2 nothing was made.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from lmdb_keys import lmdb_keys
from lmdb_writer import COPIED, Entry, LmdbWriter
from pictures import (
    MAX_PIXELS,
    PictureError,
    decode,
    encode_png,
    inspect,
    list_pictures,
    read_bytes,
)
from resumable_build import BuildError, Outcome, Summary, build, ordered_map, report_path

COPIED_FORMATS = ('PNG', 'JPEG', 'WEBP')


@dataclass(frozen=True)
class Options:
    """What is done to each picture."""

    size: int | None = None
    """Length of the shorter side to resize to."""
    crop_size: int | None = None
    """Side of the square sub-pictures to cut."""
    step: int | None = None
    """Distance between sub-pictures."""
    reencode: bool = False
    """Decode and encode also what could be copied."""
    compression_level: int = 1
    """Of the PNG encoder, 1 to 9."""
    max_pixels: int = MAX_PIXELS
    """Pictures with more are rejected, undecoded."""


def create_lmdb(
    folder: Path,
    names: Sequence[str],
    target: Path,
    options: Options,
    *,
    shard: tuple[int, int] = (1, 1),
    jobs: int = os.cpu_count() or 1,
    verify: bool = False,
    resume: bool = False,
    overwrite: bool = False,
) -> Summary:
    """Make the database `target` from the pictures `names` of `folder`; see the module's text.

    Args:
        folder: Where the pictures are.
        names: Pictures, relative to `folder`, each once; the database has them in this order.
        target: Folder to be, `*.lmdb`.
        options: What is done to each picture.
        shard: (i, n): take the i-th of n equal shares, counted from 1.
        jobs: Threads.
        verify: Decode every picture before it is stored, and every value of the whole database.
        resume: Go on with an interrupted build.
        overwrite: Begin anew, also where `target` exists.

    Raises:
        BuildError: Nothing was made; the message says why and what to do.
    """
    keys = lmdb_keys(names)  # of all names: shards of one folder never share a key
    number, total = shard
    share = names[number - 1::total]
    prepare_one = partial(prepare, folder, keys, options, verify)

    def prepare_all(left: Sequence[str]) -> Iterator[Outcome]:
        with ThreadPoolExecutor(jobs) as executor:
            yield from ordered_map(executor, prepare_one, left, window=4 * jobs)

    # The threads are for pictures; a resize that spawns its own would only crowd them.
    cv2.setNumThreads(1)
    return build(
        target,
        share,
        asdict(options),
        {'.': LmdbWriter},
        prepare_all,
        resume=resume,
        overwrite=overwrite,
        check=partial(check_database, jobs=jobs) if verify else None,
    )


def prepare(folder: Path, keys: Mapping[str, str], options: Options, verify: bool, name: str) -> Outcome:
    """Turn one picture file into entries of the database, or into the reason why not."""
    try:
        return Outcome({'.': make_entries(read_bytes(folder / name, options.max_pixels), keys[name], options, verify)})
    except PictureError as error:
        return Outcome({}, rejected=str(error))


def make_entries(data: bytes, key: str, options: Options, verify: bool = False) -> list[Entry]:
    """Make the entries of one encoded picture: itself, or its sub-pictures.

    Raises:
        PictureError: The picture is damaged, too large, or too small to be cropped.
    """
    header = inspect(data, options.max_pixels)
    if fits(header.shape, options) and header.upright and header.format in COPIED_FORMATS and not options.reencode:
        if verify:
            decode(data)
        return [Entry(crop_key(key, 1) if options.crop_size else key, data, header.shape, COPIED)]
    picture = decode(data)
    if options.size:
        picture = resize_shorter_side(picture, options.size)
    if options.crop_size is None:
        return [encode(key, picture, options.compression_level)]
    return [
        encode(crop_key(key, number), crop, options.compression_level)
        for number, crop in enumerate(crops(picture, options.crop_size, options.step), start=1)
    ]


def fits(shape: tuple[int, int, int], options: Options) -> bool:
    """Whether a picture of this shape, (H, W, C), has the wanted size already."""
    height, width, _ = shape
    return options.size in (None, min(height, width)) and options.crop_size in (None, max(height, width))


def resize_shorter_side(picture: np.ndarray, size: int) -> np.ndarray:
    """Resize to a shorter side of `size` pixels: area means to shrink, bicubic to enlarge."""
    from mmcv import imresize

    height, width = picture.shape[:2]
    scale = size / min(height, width)
    return imresize(
        picture, (round(width * scale), round(height * scale)), interpolation='area' if scale < 1 else 'bicubic'
    )


def crops(picture: np.ndarray, size: int, step: int) -> Iterator[np.ndarray]:
    """Cut squares of `size`, `step` apart, row by row; the last row and column end at the border.

    Raises:
        PictureError: The picture is smaller than one square.
    """
    height, width = picture.shape[:2]
    if min(height, width) < size:
        raise PictureError(f'{width}x{height} pixels, smaller than the crop of {size}')

    def starts(length: int) -> list[int]:
        last = length - size
        return [*range(0, last, step), last]

    for top in starts(height):
        for left in starts(width):
            yield picture[top:top + size, left:left + size]


def crop_key(key: str, number: int) -> str:
    """Name a sub-picture as BasicSR's own extraction of sub-images does."""
    return f'{key}_s{number:03d}'


def encode(key: str, picture: np.ndarray, level: int) -> Entry:
    """Encode a picture, `(H, W)` or `(H, W, 3)`, into an entry."""
    height, width = picture.shape[:2]
    return Entry(key, encode_png(picture, level), (height, width, picture.size // (height * width)), level)


def check_database(folder: Path, jobs: int) -> None:
    """Decode all of a database.

    Raises:
        BuildError: A value is not what was stored.
    """
    from verify_lmdb import verify

    problems = verify(folder, jobs)
    if problems:
        listed = ''.join(f'\n  {key}: {reason}' for key, reason in problems)
        raise BuildError(f'{folder} is damaged, begin anew with --overwrite:{listed}')


def read_names(folder: Path, list_file: Path | None = None) -> list[str]:
    """List the pictures of `folder`, or those that `list_file` names, one on each line, relative to `folder`.

    Raises:
        BuildError: The folder or the list is missing, unreadable or empty, or the list repeats a name.
    """
    try:
        if not folder.is_dir():
            raise BuildError(f'-i {folder}: no such folder')
        if list_file is None:
            names, others = list_pictures(folder)
        else:
            names, others = list_file.read_text(encoding='utf-8', errors='surrogateescape').split('\n'), []
            names = [name for name in names if name]
    except OSError as error:
        raise BuildError(f'{error.filename}: {error.strerror}') from error
    if others:
        suffixes = ', '.join(sorted({Path(name).suffix or 'no suffix' for name in others}))
        print(f'{folder}: {len(others)} files left out whose names are not those of pictures ({suffixes})')
    if not names:
        raise BuildError(f'{list_file or folder} has no pictures in it')
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise BuildError(f'{list_file} names {repeated[0]} more than once')
    return names


def parse_shard(text: str) -> tuple[int, int]:
    """Read `i/n`."""
    number, _, total = text.partition('/')
    if not (number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
        raise argparse.ArgumentTypeError(f'{text!r}: i/n is wanted with 1 <= i <= n, for example 1/4')
    return int(number), int(total)


def positive(text: str) -> int:
    """Read a number of 1 or more."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f'{text!r}: a whole number from 1 up is wanted')
    return int(text)


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what all scripts that build databases take."""
    parser.add_argument('--list', type=Path, metavar='FILE', help='take only the pictures it names, one on each line, '
                        'relative to the input folder (split.py writes such lists)')
    parser.add_argument('--max-pixels', type=positive, default=MAX_PIXELS, metavar='N',
                        help='reject larger pictures, undecoded (default: %(default)s)')
    parser.add_argument('--compression-level', type=int, choices=range(1, 10), default=1, metavar='1-9',
                        help='of the PNG encoder (default: %(default)s)')
    parser.add_argument('--jobs', type=positive, default=os.cpu_count(), metavar='N',
                        help='pictures worked on at a time (default: all cores, here %(default)s)')
    either = parser.add_mutually_exclusive_group()
    either.add_argument('--resume', action='store_true', help='go on with an interrupted build; begin where there is '
                        'none; do nothing where it is whole')
    either.add_argument('--overwrite', action='store_true',
                        help='begin anew; an older database is replaced when the new one is whole')


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='FOLDER', help='the pictures')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='NAME.lmdb', help='the database to make')
    parser.add_argument('--size', type=positive, help='resize to a shorter side of so many pixels')
    parser.add_argument('--crop-size', type=positive, metavar='SIZE', help='cut into squares of this side')
    parser.add_argument('--step', type=positive, help='distance of the squares (default: the crop size)')
    parser.add_argument('--reencode', action='store_true', help='decode and encode also what could be copied: all '
                        'values are PNG then, without metadata')
    parser.add_argument('--shard', type=parse_shard, default=(1, 1), metavar='I/N', help='make the I-th of N databases '
                        'of equal shares, NAME.I-of-N.lmdb: each machine one, the dataset takes the list of them')
    parser.add_argument('--verify', action='store_true', help='decode every picture before it is stored and every '
                        'value of the finished database')
    add_build_arguments(parser)
    options = parser.parse_args(arguments)
    if options.output.suffix != '.lmdb':
        parser.error(f'-o {options.output}: BasicSR wants a name that ends in .lmdb')
    if options.step and not options.crop_size:
        parser.error('--step goes with --crop-size')
    return options


def finish(parser_name: str, target: Path, summary: Summary) -> int:
    """Print what was made; returns the exit status."""
    print(f'{target}: {summary.stored} pictures')
    if summary.rejected:
        print(f'{parser_name}: {summary.rejected} pictures rejected, see {report_path(target)}', file=sys.stderr)
    return 1 if summary.rejected else 0


def main() -> int:
    """Run the command; returns the exit status."""
    arguments = parse_arguments()
    target = arguments.output
    number, total = arguments.shard
    if total > 1:
        target = target.with_name(f'{target.stem}.{number}-of-{total}.lmdb')
    options = Options(
        size=arguments.size,
        crop_size=arguments.crop_size,
        step=arguments.step or arguments.crop_size,
        reencode=arguments.reencode,
        compression_level=arguments.compression_level,
        max_pixels=arguments.max_pixels,
    )
    try:
        names = read_names(arguments.input, arguments.list)
        summary = create_lmdb(
            arguments.input, names, target, options, shard=arguments.shard, jobs=arguments.jobs,
            verify=arguments.verify, resume=arguments.resume, overwrite=arguments.overwrite,
        )
    except BuildError as error:
        print(f'create_lmdb.py: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'create_lmdb.py: stopped; --resume goes on with {target}', file=sys.stderr)
        return 130
    return finish('create_lmdb.py', target, summary)


if __name__ == '__main__':
    sys.exit(main())
