"""Show what the recipes do: a sheet with one picture, degraded by each of them.

    python data_prep/inspect_degradations.py -i face.png -o degradations.png
    python data_prep/inspect_degradations.py -i face.png -o noise.png --recipes noise full --draws 4

Each row is a recipe, each column another draw; above each picture stand the recipe and the PSNR against the clean
picture, which comes first. The draws are those of --seed, --seed + 1, ...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from hifacegan_plugin.images.sheets import draw_sheet
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.prepare.build_command import not_negative, positive
from hifacegan_plugin.prepare.images import (
    ImageError,
    decode_8_bit_bgr,
    inspect,
    read_bytes,
    resize_shorter_side,
)


def degraded_rows(
    picture: np.ndarray, recipes: Sequence[str], draws: int, seed: int
) -> list[list[tuple[str, np.ndarray]]]:
    """Degrade a picture by each recipe.

    Args:
        picture: uint8 RGB `(H, W, 3)`.
        recipes: Their names.
        draws: Columns.
        seed: Of the first column.

    Returns:
        Rows of (title, uint8 RGB `(H, W, 3)`), each led by the clean picture.

    Raises:
        ValueError: An unknown recipe; the message names what there is.
    """
    from hifacegan_plugin.data.degradations import build_degradation, fit, make_generator

    rows = []
    for name in recipes:
        degrade, row = build_degradation(name), [('clean', picture)]
        for draw in range(seed, seed + draws):
            degraded = fit(degrade(picture, make_generator(draw, name)), *picture.shape[:2])
            row.append((f'{name}  {cv2.PSNR(degraded, picture):.1f} dB', degraded))
        rows.append(row)
    return rows


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='PICTURE', help='the clean picture')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='SHEET.png', help='the sheet to make')
    parser.add_argument('--recipes', nargs='+', metavar='NAME', help='default: all there are')
    parser.add_argument('--draws', type=positive, default=2, help='columns (default: %(default)s)')
    parser.add_argument('--size', type=positive, default=256,
                        help='resize to this shorter side first (default: %(default)s)')
    parser.add_argument('--seed', type=not_negative, default=0, help='of the first column (default: %(default)s)')
    arguments = parser.parse_args()
    if arguments.output.suffix.lower() != '.png':
        parser.error(f'-o {arguments.output}: a name that ends in .png is wanted')
    return arguments


def main() -> int:
    """Run the command; returns the exit status."""
    arguments = parse_arguments()
    try:
        data = read_bytes(arguments.input)
        inspect(data)
        picture = resize_shorter_side(decode_8_bit_bgr(data), arguments.size)
    except ImageError as error:
        print(f'inspect_degradations.py: {arguments.input}: {error}', file=sys.stderr)
        return 2

    from hifacegan_plugin.data.degradations import RECIPES

    recipes = arguments.recipes or list(RECIPES)
    try:
        rows = degraded_rows(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), recipes, arguments.draws, arguments.seed)
        write_png(arguments.output, draw_sheet(rows))
    except (ValueError, OSError) as error:
        print(f'inspect_degradations.py: {error}', file=sys.stderr)
        return 2
    print(f'{arguments.output}: {", ".join(recipes)}')
    return 0

