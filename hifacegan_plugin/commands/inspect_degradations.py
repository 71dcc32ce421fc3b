"""Draw a sheet that shows one image degraded by each recipe.

    hifacegan inspect-degradations -i face.png -o degradations.png
    hifacegan inspect-degradations -i face.png -o noise.png --recipes noise full --draws 4

Each row is a recipe, each column a random draw with the seeds --seed, --seed + 1, ... The label above each image gives
the recipe and the PSNR to the clean image, which comes first.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from hifacegan_plugin.commands.arguments import output_file, positive_whole, whole
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.data.degradations import RECIPES, build_degradation, fit, make_generator
from hifacegan_plugin.images.decoding import silence_codecs
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.sheets import draw_sheet
from hifacegan_plugin.images.sources import read_rgb
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.prepare.shorter_side import resize_shorter_side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan inspect-degradations``."""
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='IMAGE', help='the clean image')
    parser.add_argument(
        '-o', '--output', type=output_file, required=True, metavar='SHEET.png', help='the sheet to make'
    )
    parser.add_argument('--recipes', nargs='+', metavar='NAME', help='default: all')
    parser.add_argument('--draws', type=positive_whole, default=2, help='columns (default: %(default)s)')
    parser.add_argument(
        '--size', type=positive_whole, default=256, help='resize the shorter side to this first (default: %(default)s)'
    )
    parser.add_argument('--seed', type=whole, default=0, help='seed of the first column (default: %(default)s)')


@fails_on(ValueError, OSError)
def run(arguments: argparse.Namespace) -> int:
    """Write the sheet; 0 done, 2 nothing was written."""
    silence_codecs()
    recipes = arguments.recipes or list(RECIPES)
    if arguments.output.suffix.lower() != '.png':
        raise ValueError(f'-o {arguments.output}: the name must end in .png')
    try:
        image = resize_shorter_side(read_rgb(arguments.input), arguments.size)
    except ImageError as error:
        raise ValueError(f'{arguments.input} {error}') from error
    rows = degraded_rows(image, recipes, arguments.draws, arguments.seed)
    write_png(arguments.output, draw_sheet(rows))
    print(f'{arguments.output}: {", ".join(recipes)}')
    return 0


def degraded_rows(
    image: np.ndarray, recipes: Sequence[str], draws: int, seed: int
) -> list[list[tuple[str, np.ndarray]]]:
    """Degrade an image by each recipe.

    Args:
        image: clean image, ``(H, W, 3)``, uint8 RGB.
        recipes: names of the recipes.
        draws: number of degraded images per recipe.
        seed: seed of the first degraded image; the others use the following seeds.

    Returns:
        For each recipe, a row of labels and images ``(H, W, 3)``, uint8 RGB, that starts with the clean image.

    Raises:
        ValueError: a recipe is unknown.
    """
    rows = []
    for name in recipes:
        degrade, row = build_degradation(name), [('clean', image)]
        for draw in range(seed, seed + draws):
            degraded = fit(degrade(image, make_generator(draw, name)), *image.shape[:2])
            row.append((f'{name}  {cv2.PSNR(degraded, image):.1f} dB', degraded))
        rows.append(row)
    return rows
