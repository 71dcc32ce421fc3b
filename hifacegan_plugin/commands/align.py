"""Crop aligned faces from a folder of photographs as in FFHQ: by eyes and mouth, upright, 512x512.

    hifacegan align -i photographs -o datasets/faces.lmdb
    hifacegan align -i photographs -o datasets/faces --faces all --min-face 256 --max-yaw 30
    hifacegan align -i photographs -o datasets/wide_faces --side 704 --margin 0.1875

The first command makes an LMDB in BasicSR's format. The others make a folder; the crops are PNG files in its subfolder
images. The last one adds a margin for random crops in training: the centre 512x512 pixels are FFHQ's crop.

The result also holds faces.jsonl, with a line for each face: key, photograph, the matrix from crop to photograph
pixels, landmarks, pose, sharpness, and the reason if the face was rejected.

A crop has the key of its photograph (a/b 1.jpg: a%2Fb%201); with --faces all, a number is added: a%2Fb%201_face1. Grey
and 16-bit photographs give grey and 16-bit crops. Beyond the border of the photograph, a crop is filled by reflection;
"inside" in faces.jsonl is the share of the crop inside the photograph.

Detector and landmarks are dlib's: pip install "hifacegan-plugin[faces]". The licence of the training data (iBUG 300-W)
of the default model with 68 landmarks forbids commercial use. The model with 5 landmarks is CC0: --landmarks 5. It does
not locate the mouth, which is then estimated from eyes and nose.

The result appears under its name when it is complete; --resume continues an interrupted run. NAME.rejected.tsv lists
photographs that gave no face, with the reason.

Exit status: 0 all photographs gave a face, 1 some were rejected, 2 nothing was built.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hifacegan_plugin.commands.arguments import positive, positive_whole, share
from hifacegan_plugin.commands.building import add_build_arguments, how_to_build, report_build
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.faces.dlib_models import FaceModelsMissingError
from hifacegan_plugin.faces.landmarks import MODELS
from hifacegan_plugin.images.decoding import silence_codecs
from hifacegan_plugin.prepare.align import Options, align, read_faces
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.names import read_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan align``."""
    default = Options()
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='FOLDER', help='the photographs')
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='NAME',
        help='the result: a database NAME.lmdb, or a folder',
    )  # fmt: skip
    parser.add_argument(
        '--side', type=positive_whole, default=default.side, metavar='N',
        help='side of the crops in pixels (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--margin', type=share, default=default.margin, metavar='0..1',
        help="margin to add at each side, as a share of the side of FFHQ's square (default: none)",
    )  # fmt: skip
    parser.add_argument(
        '--faces', choices=('largest', 'all'), default='largest',
        help='which faces of a photograph to use (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--min-face', type=positive_whole, default=default.min_face, metavar='N',
        help='reject faces whose square is smaller than N pixels a side in the photograph (about four times the '
        'distance between the eyes); smaller values take longer (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--max-yaw', type=positive, metavar='DEGREES',
        help='reject faces turned further to the side, as estimated from eyes and nose',
    )  # fmt: skip
    parser.add_argument('--max-roll', type=positive, metavar='DEGREES', help='reject faces tilted further')
    parser.add_argument(
        '--min-sharpness', type=positive, default=default.min_sharpness, metavar='X',
        help='reject faces of lower sharpness: standard deviation of the Laplacian divided by that of the luma; '
        'faces.jsonl gives the value of each face (default: %(default)g, reject none)',
    )  # fmt: skip
    parser.add_argument(
        '--landmarks', choices=MODELS, default=default.landmarks,
        help="number of dlib's landmarks; 5 for commercial use (default: %(default)s)",
    )  # fmt: skip
    add_build_arguments(parser)


@fails_on(BuildError, FaceModelsMissingError)
def run(arguments: argparse.Namespace) -> int:
    """Align the faces; 0 all photographs gave a face, 1 some were rejected, 2 nothing was built."""
    silence_codecs()
    options = Options(
        side=arguments.side,
        margin=arguments.margin,
        every_face=arguments.faces == 'all',
        min_face=arguments.min_face,
        max_yaw=arguments.max_yaw,
        max_roll=arguments.max_roll,
        min_sharpness=arguments.min_sharpness,
        landmarks=arguments.landmarks,
        compression_level=arguments.compression_level,
        max_pixels=arguments.max_pixels,
    )
    names = read_names(arguments.input, arguments.list)
    summary = align(arguments.input, names, arguments.output, options, how_to_build(arguments))
    status = report_build(arguments, arguments.output, summary)
    if options.every_face:
        faces = read_faces(arguments.output)
        taken = sum(face['rejected'] is None for face in faces)
        print(f'{arguments.output}: {taken} faces written, {len(faces) - taken} rejected')
    return status
