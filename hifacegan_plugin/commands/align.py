"""Cut aligned faces out of a folder of photographs, as FFHQ is cut: by eyes and mouth, upright, 512x512.

    hifacegan align -i photographs -o datasets/faces.lmdb
    hifacegan align -i photographs -o datasets/faces --faces all --min-face 256 --max-yaw 30
    hifacegan align -i photographs -o datasets/wide_faces --side 704 --margin 0.1875

The first makes an LMDB in BasicSR's format, the others a folder with the crops as PNG files in datasets/faces/images;
the last with surroundings, so that a training can crop at random: the middle 512x512 pixels are FFHQ's.
All hold faces.jsonl: for each face a line with its key, its photograph, the matrix that takes pixels of the crop back
into the photograph, its landmarks, its pose, its sharpness, and why it was not taken where it was not.

A crop has the key of its photograph (a/b 1.jpg: a%2Fb%201), with --faces all and a number: a%2Fb%201_face1. Grey and
16-bit photographs give grey and 16-bit crops. What a crop shows beyond the border of the photograph is a reflection;
"inside" in faces.jsonl says how much is not.

Detector and landmarks are dlib's: pip install "hifacegan-plugin[faces]". The model of 68 landmarks, the default, must
not be used commercially (so says the licence of its training data, iBUG 300-W); that of 5, CC0, may: --landmarks 5. It
does not see the mouth, which is then estimated from eyes and nose.

The result appears under its name when it is complete; --resume continues after a kill. Photographs without a face that
was taken are listed with the reason in NAME.rejected.tsv.

Exit status: 0 all photographs gave a face, 1 some were rejected, 2 nothing was built.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hifacegan_plugin.commands.arguments import explain, positive, positive_whole, share
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
    explain(parser, __doc__)
    default = Options()
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='FOLDER', help='the photographs')
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='NAME',
        help='what to build: a database NAME.lmdb, or a folder',
    )  # fmt: skip
    parser.add_argument(
        '--side', type=positive_whole, default=default.side, metavar='N',
        help='of the crops, in pixels (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--margin', type=share, default=default.margin, metavar='0..1',
        help="surroundings to cut out, too, at each side, as a share of the side of FFHQ's square (default: none)",
    )  # fmt: skip
    parser.add_argument(
        '--faces', choices=('largest', 'all'), default='largest',
        help='which faces of a photograph (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--min-face', type=positive_whole, default=default.min_face, metavar='N',
        help='reject faces whose square has less than N pixels a side in the photograph, about four times the '
        'distance of the eyes; smaller ones take longer to find (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--max-yaw', type=positive, metavar='DEGREES',
        help='reject faces that are turned further aside, as estimated from eyes and nose',
    )  # fmt: skip
    parser.add_argument('--max-roll', type=positive, metavar='DEGREES', help='reject faces that are tilted further')
    parser.add_argument(
        '--min-sharpness', type=positive, default=default.min_sharpness, metavar='X',
        help='reject blurred faces: the standard deviation of the Laplacian over that of the luma; faces.jsonl has '
        'that of each face to choose by (default: %(default)g, reject none)',
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
        print(f'{arguments.output}: {taken} faces taken, {len(faces) - taken} beside them rejected')
    return status
