"""Make an LMDB in BasicSR's format from a folder of pictures.

    python data_prep/create_lmdb.py -i datasets/ffhq/images1024x1024 -o datasets/ffhq_512.lmdb --size 512

PNG, JPEG and WebP files that need no change are copied byte for byte; everything else (another size or format, an
Exif rotation, CMYK) is decoded and stored as PNG, with all cores. The database appears under its name when it is whole;
until then it lies beside it as .NAME.lmdb.partial, and --resume goes on after a kill, a power cut or a full disk.
Pictures that cannot be taken are listed with the reason in NAME.lmdb.rejected.tsv.

Sub-folders are read too. Keys: 00001.png has the key 00001, a/b 1.png the key a%2Fb%201 (see lmdb_keys.py).

Exit status: 0 all pictures are in, 1 some were rejected, 2 nothing was made.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from hifacegan_plugin.prepare.basicsr_lmdb import COPIED, Entry, LmdbWriter, png_entry
from hifacegan_plugin.prepare.build_command import add_build_arguments, positive, read_names, run_build
from hifacegan_plugin.prepare.images import (
    MAX_PIXELS,
    ImageError,
    decode,
    inspect,
    read_bytes,
    resize_shorter_side,
)
from hifacegan_plugin.prepare.lmdb_keys import lmdb_keys
from hifacegan_plugin.prepare.resumable_build import BuildError, Outcome, Summary, build
from hifacegan_plugin.prepare.worker_pool import ordered_map


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
    """Pictures with more are rejected, undecoded, and those that `size` would give more."""


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
    if not share:
        raise BuildError(f'--shard {number}/{total}: {len(names)} pictures are too few for so many shards')
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
    except ImageError as error:
        return Outcome({}, rejected=str(error))


def make_entries(data: bytes, key: str, options: Options, verify: bool = False) -> list[Entry]:
    """Make the entries of one encoded picture: itself, or its sub-pictures.

    Raises:
        ImageError: The picture is damaged, too large, or too small to be cropped.
    """
    header = inspect(data, options.max_pixels)
    if header.copyable and fits(header.shape, options) and not options.reencode:
        if verify:
            decode(data, options.max_pixels)
        return [Entry(crop_key(key, 1) if options.crop_size else key, data, header.shape, COPIED)]
    picture = decode(data, options.max_pixels)
    if options.size:
        picture = resize_shorter_side(picture, options.size, options.max_pixels)
    if options.crop_size is None:
        return [png_entry(key, picture, options.compression_level)]
    return [
        png_entry(crop_key(key, number), crop, options.compression_level)
        for number, crop in enumerate(crops(picture, options.crop_size, options.step), start=1)
    ]


def fits(shape: tuple[int, int, int], options: Options) -> bool:
    """Whether a picture of this shape, (H, W, C), has the wanted size already."""
    height, width, _ = shape
    crop = options.crop_size
    return options.size in (None, min(height, width)) and (crop is None or height == width == crop)


def crops(picture: np.ndarray, size: int, step: int) -> Iterator[np.ndarray]:
    """Cut squares of `size`, `step` apart, row by row; the last row and column end at the border.

    Raises:
        ImageError: The picture is smaller than one square.
    """
    height, width = picture.shape[:2]
    if min(height, width) < size:
        raise ImageError(f'{width}x{height} pixels, smaller than the crop of {size}')

    def starts(length: int) -> list[int]:
        last = length - size
        return [*range(0, last, step), last]

    for top in starts(height):
        for left in starts(width):
            yield picture[top:top + size, left:left + size]


def crop_key(key: str, number: int) -> str:
    """Name a sub-picture as BasicSR's own extraction of sub-images does."""
    return f'{key}_s{number:03d}'


def check_database(folder: Path, jobs: int) -> None:
    """Decode all of a database.

    Raises:
        BuildError: A value is not what was stored.
    """
    from hifacegan_plugin.prepare.verify_lmdb import verify

    problems = verify(folder, jobs)
    if problems:
        listed = ''.join(f'\n  {key}: {reason}' for key, reason in problems)
        raise BuildError(f'{folder} is damaged, begin anew with --overwrite:{listed}')


def parse_shard(text: str) -> tuple[int, int]:
    """Read `i/n`."""
    number, _, total = text.partition('/')
    if not (number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
        raise argparse.ArgumentTypeError(f'{text!r}: i/n is wanted with 1 <= i <= n, for example 1/4')
    return int(number), int(total)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='FOLDER', help='the pictures')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='NAME.lmdb', help='the database to make')
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

    def work() -> Summary:
        return create_lmdb(
            arguments.input, read_names(arguments.input, arguments.list), target, options, shard=arguments.shard,
            jobs=arguments.jobs, verify=arguments.verify, resume=arguments.resume, overwrite=arguments.overwrite,
        )

    return run_build('create_lmdb.py', target, work)

