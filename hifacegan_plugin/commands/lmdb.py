"""Make an LMDB in BasicSR's format from a folder of images.

    hifacegan lmdb -i datasets/ffhq/images1024x1024 -o datasets/ffhq_512.lmdb --size 512

PNG, JPEG and WebP files that need no change are copied byte for byte. All other images (another size or format, an EXIF
rotation, CMYK) are decoded and stored as PNG, on all cores. The database appears under its name when it is complete.
Until then it is .NAME.lmdb.partial, and --resume continues after a kill, a power cut or a full disk.
NAME.lmdb.rejected.tsv lists images that cannot be used, with the reason.

Subfolders are included. Keys: 00001.png has the key 00001, a/b 1.png the key a%2Fb%201.

Exit status: 0 all images are in, 1 some were rejected, 2 nothing was built.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hifacegan_plugin.commands.arguments import positive_whole
from hifacegan_plugin.commands.building import add_build_arguments, add_size_argument, how_to_build, report_build
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.images.decoding import silence_codecs
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.create_lmdb import Options, create_lmdb
from hifacegan_plugin.prepare.names import read_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan lmdb``."""
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='FOLDER', help='the images')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='NAME.lmdb', help='the database to make')
    parser.add_argument('--crop-size', type=positive_whole, metavar='SIZE', help='cut into squares of this side')
    parser.add_argument('--step', type=positive_whole, help='distance between the squares (default: the crop size)')
    parser.add_argument(
        '--reencode', action='store_true',
        help='decode and encode all images, also those that could be copied: PNG without metadata',
    )  # fmt: skip
    parser.add_argument(
        '--shard', type=_shard, default=(1, 1), metavar='I/N',
        help='make the I-th of N equal parts, NAME.I-of-N.lmdb, one on each machine; the dataset option takes the list '
        'of all parts',
    )  # fmt: skip
    add_size_argument(parser)
    add_build_arguments(parser)


@fails_on(BuildError)
def run(arguments: argparse.Namespace) -> int:
    """Make the database; 0 all images are in, 1 some were rejected, 2 nothing was built."""
    silence_codecs()
    if arguments.output.suffix != '.lmdb':
        raise BuildError(f'-o {arguments.output}: the name must end in .lmdb for BasicSR')
    if arguments.step and not arguments.crop_size:
        raise BuildError('--step needs --crop-size')
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
    names = read_names(arguments.input, arguments.list)
    summary = create_lmdb(arguments.input, names, target, options, how_to_build(arguments), shard=arguments.shard)
    return report_build(arguments, target, summary)


def _shard(text: str) -> tuple[int, int]:
    """Read ``i/n``."""
    number, _, total = text.partition('/')
    if not (number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
        raise argparse.ArgumentTypeError(f'{text!r}: expected I/N with 1 <= I <= N, for example 1/4')
    return int(number), int(total)
