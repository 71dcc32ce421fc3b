"""Measure how `--keep-colour` affects the brightness and the PSNR of restored images.

    python benchmarks/keep_colour.py --weights net_g.safetensors --images datasets/demo/heldout

Plain grey images, which should not change, show the shift of brightness. Noisy photographs are restored with and
without the option.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from hifacegan_plugin.images.files import is_image_name  # noqa: E402
from hifacegan_plugin.images.opening import MAX_PIXELS  # noqa: E402
from hifacegan_plugin.images.photograph_files import read_photograph  # noqa: E402
from hifacegan_plugin.restore import Restorer  # noqa: E402

GREYS = range(32, 256, 32)
SIDE = 128  # side of a grey image, in pixels
NOISE = 25  # sigma, in levels


def main() -> None:
    """Print a line for grey images and one for photographs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', default='general', help='default: %(default)s')
    parser.add_argument('--images', type=Path, default=REPOSITORY / 'datasets/demo/heldout', help='clean images')
    parser.add_argument('--limit', type=int, default=20, help='images at most (default: %(default)s)')
    arguments = parser.parse_args()
    restorers = {kept: Restorer(arguments.weights, keep_colour=kept) for kept in (False, True)}
    greys = [np.full((SIDE, SIDE, 3), grey, np.uint8) for grey in GREYS]
    shifts = {kept: np.mean([shift(restore(grey), grey) for grey in greys]) for kept, restore in restorers.items()}
    print(f'flat greys: shift {shifts[False]:.2f} levels, with --keep-colour {shifts[True]:.2f}')

    figures = []
    generator = np.random.default_rng(0)
    paths = [path for path in sorted(arguments.images.iterdir()) if is_image_name(path.name)]
    for path in paths[: arguments.limit]:
        truth = read_photograph(path, MAX_PIXELS).pixels
        degraded = np.rint(truth + generator.normal(0, NOISE, truth.shape)).clip(0, 255).astype(np.uint8)
        plain, kept = (restore(degraded) for restore in restorers.values())
        figures.append(
            [psnr(degraded, truth), psnr(plain, truth), psnr(kept, truth), shift(plain, truth), shift(kept, truth)]
        )
    noisy, plain, kept, moved, left = np.mean(figures, axis=0)
    print(
        f'{len(figures)} photographs with noise of sigma {NOISE}: PSNR {noisy:.2f} dB degraded, {plain:.2f} restored, '
        f'{kept:.2f} with --keep-colour; shift {moved:.2f} and {left:.2f} levels'
    )


def shift(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean difference between the means of the channels, in levels of 0 to 255."""
    return float(np.abs(image.mean((0, 1)) - truth.mean((0, 1))).mean())


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(255**2 / np.square(image.astype(float) - truth).mean()))


if __name__ == '__main__':
    main()
