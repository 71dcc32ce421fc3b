"""Freeze a degradation: degraded and ground-truth images that BasicSR's PairedImageDataset reads.

    hifacegan pairs -i datasets/faces -o datasets/faces_full --recipe full
    hifacegan pairs -i datasets/val.lmdb -o datasets/val_sr4x --recipe sr4x --scale 4

makes datasets/faces_full/lq.lmdb and gt.lmdb with the same keys (--folders: plain folders lq and gt of PNG files), so
that every restorer is trained and tested on the same bytes. The degradation of an image depends only on --seed and its
name. The same seed gives the same bytes with any number of processes, and the same images as DegradationDataset in
validation.

--recipe is the name of a recipe, a step or list of steps as in an options file, or a YAML file with one:
    --recipe '[{type: GaussianBlur, sigma: 2}, {type: JPEG, quality: 40}]'

Of a database, --list names images by their keys, or as they were named in the folder that it was made from.

The folder appears under its name when it is complete; --resume continues after a kill. NAME.rejected.tsv lists images
that cannot be used, with the reason.

Exit status: 0 all images are in, 1 some were rejected, 2 nothing was built.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from hifacegan_plugin.commands.arguments import positive_whole, whole
from hifacegan_plugin.commands.building import add_build_arguments, add_size_argument, how_to_build, report_build
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.images.decoding import silence_codecs
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.make_pairs import Options, list_sources, make_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan pairs``."""
    parser.add_argument(
        '-i', '--input', type=Path, required=True, metavar='SOURCE',
        help='the ground truth: a folder, or a database NAME.lmdb',
    )  # fmt: skip
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='FOLDER', help='where the pairs go')
    parser.add_argument('--recipe', type=_recipe, required=True, help='name, steps or YAML file')
    parser.add_argument('--seed', type=whole, default=0, help='seed of the random draws (default: 0)')
    parser.add_argument(
        '--scale', type=positive_whole, default=1,
        help='make the degraded images this much smaller (default: 1, the same size)',
    )  # fmt: skip
    parser.add_argument('--folders', action='store_true', help='plain folders of PNG files instead of databases')
    add_size_argument(parser)
    add_build_arguments(parser)


@fails_on(BuildError)
def run(arguments: argparse.Namespace) -> int:
    """Make the pairs; 0 all images are in, 1 some were rejected, 2 nothing was built."""
    silence_codecs()
    options = Options(
        recipe=arguments.recipe,
        seed=arguments.seed,
        size=arguments.size,
        scale=arguments.scale,
        folders=arguments.folders,
        compression_level=arguments.compression_level,
        max_pixels=arguments.max_pixels,
    )
    names = list_sources(arguments.input, arguments.list)
    summary = make_pairs(arguments.input, names, arguments.output, options, how_to_build(arguments))
    return report_build(arguments, arguments.output, summary)


def _recipe(text: str) -> Any:
    """Read a recipe: a name, YAML, or a file of it."""
    try:
        path = Path(text)
        return yaml.safe_load(path.read_text(encoding='utf-8') if path.suffix in ('.yml', '.yaml') else text)
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: no UTF-8, or no number or date
        raise argparse.ArgumentTypeError(f'{text!r}: {error}') from error
