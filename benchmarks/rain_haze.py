#!/usr/bin/env python3
r"""Compare a network with two classical methods on rain and haze, on held-out images.

    python benchmarks/rain_haze.py -w experiments/HiFaceGAN_rain_haze/models/net_g_latest.pth \
        --images datasets/outdoor_test.lmdb --sheet docs/rain_haze.jpg

Each image is degraded --draws times by each of the recipes ``rain``, ``haze`` and ``rain_haze``; all runs use the same
seeds. The classical methods are the dark channel prior (He, Sun, Tang, CVPR 2009) and non-local means. The script
prints Markdown tables of PSNR and SSIM and of the gains over the input, as means over the images with 95 % bootstrap
intervals. The draws of an image are averaged first, because they are not independent.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hifacegan_plugin.commands.arguments import output_file
from hifacegan_plugin.compare.intervals import bootstrap_interval, paired_interval
from hifacegan_plugin.compare.methods import build_method
from hifacegan_plugin.compare.tables import ABSENT, markdown_table
from hifacegan_plugin.data import DegradationDataset
from hifacegan_plugin.images.sheets import draw_sheet
from hifacegan_plugin.restore import Restorer
from hifacegan_plugin.system.files import write_file
from hifacegan_plugin.weights import WeightsError

RECIPES = ('rain', 'haze', 'rain_haze')
METRICS = {'PSNR': calculate_psnr, 'SSIM': calculate_ssim}
DECIMALS = {'PSNR': 2, 'SSIM': 3}
INPUT, NETWORK = 'input', 'network'

Restore = Callable[[np.ndarray], np.ndarray]  # takes and returns uint8 RGB (H, W, 3)
Values = dict[str, list[float]]  # values for all images, by metric


def main() -> None:
    """Print a table for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-w', '--weights', required=True, metavar='FILE', help='weights of the network')
    parser.add_argument('--images', type=Path, required=True, metavar='LMDB_OR_FOLDER', help='clean held-out images')
    parser.add_argument('--draws', type=int, default=2, metavar='N', help='degraded versions of an image (default: 2)')
    parser.add_argument(
        '--sheet', type=output_file, metavar='JPG', help='write input, output and ground truth of one image'
    )
    arguments = parser.parse_args()
    if not arguments.images.is_dir():
        parser.error(f'--images: {arguments.images} does not exist: make it as described in docs/rain_haze.md')
    if arguments.draws < 1:
        parser.error('--draws: expected a number of at least 1')
    try:
        network = Restorer(arguments.weights)
    except WeightsError as error:
        parser.error(f'--weights: {error}')
    denoiser = build_method({'type': 'fast_nl_means'})
    methods: dict[str, Restore] = {
        INPUT: lambda image: image,
        'non-local means': lambda image: denoiser.restore(image, image.shape[:2]),
        'dark channel prior': dehaze,
        NETWORK: network,
    }
    for recipe in RECIPES:
        values = measure(methods, recipe, arguments.images, arguments.draws)
        print(f'\n{recipe}: {len(values[INPUT]["PSNR"])} images, each degraded {arguments.draws} times\n')
        print(table(values), flush=True)
    if arguments.sheet:
        write_sheet(arguments.sheet, network, arguments.images)


# ------------------------------------------------------------------------------------------- measuring


def measure(methods: dict[str, Restore], recipe: str, images: Path, draws: int) -> dict[str, Values]:
    """Return the values of each method, averaged over the draws of each image."""
    values: dict[str, Values] = {name: defaultdict(list) for name in methods}
    for pairs in zip(*(read_pairs(recipe, images, draw) for draw in range(draws))):
        for name, restore in methods.items():
            restored = [(restore(degraded), truth) for degraded, truth in pairs]
            for metric, function in METRICS.items():
                drawn = [function(bgr(image), bgr(truth), crop_border=0) for image, truth in restored]
                values[name][metric].append(float(np.mean(drawn)))
    return values


def read_pairs(recipe: str, images: Path, draw: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield degraded images and the ground truth, uint8 RGB."""
    backend = 'lmdb' if images.suffix == '.lmdb' else 'disk'
    dataset = DegradationDataset(
        {
            'name': recipe,
            'phase': 'test',
            'dataroot_gt': str(images),
            'io_backend': {'type': backend},
            'degradation': recipe,
            'seed': draw,
        }
    )
    for item in dataset:
        degraded, truth = (np.rint(255 * item[side].permute(1, 2, 0).numpy()).astype(np.uint8) for side in ('lq', 'gt'))
        yield degraded, truth


def table(values: dict[str, Values]) -> str:
    """Return a table of means and gains over the input, with intervals."""
    header = ['', *(title for metric in METRICS for title in (metric, f'gain in {metric}'))]
    return markdown_table(header, [[name, *cells(values[name], values[INPUT])] for name in values])


def cells(of_method: Values, of_input: Values) -> Iterator[str]:
    """Yield the mean of each metric and the gain over the input."""
    for metric, decimals in DECIMALS.items():
        figures = of_method[metric]
        gains = np.subtract(figures, of_input[metric])
        yield with_interval(f'.{decimals}f', np.mean(figures), bootstrap_interval(figures))
        yield with_interval(f'+.{decimals}f', np.mean(gains), paired_interval(gains)) if gains.any() else ABSENT


def with_interval(form: str, mean: float, interval: tuple[float, float]) -> str:
    """Format a mean and its interval."""
    return '{0:{form}} [{1:{form}}, {2:{form}}]'.format(mean, *interval, form=form)


def write_sheet(file: Path, network: Restorer, images: Path) -> None:
    """Write input, output and ground truth of the first image as JPEG."""
    degraded, truth = next(read_pairs('rain_haze', images, 0))
    row = [('input', degraded), ('output', network(degraded)), ('ground truth', truth)]
    encoded = cv2.imencode('.jpg', bgr(draw_sheet([row])), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    write_file(file, encoded.tobytes())


def bgr(image: np.ndarray) -> np.ndarray:
    """Convert RGB to BGR."""
    return np.ascontiguousarray(image[..., ::-1])


# --------------------------------------------------------------------------------- the dark channel prior


def dehaze(image: np.ndarray, patch: int = 15, keep: float = 0.95, least: float = 0.1) -> np.ndarray:
    """Remove haze with the dark channel prior: in clear images, most patches have a pixel with a low colour value.

    Source: He, Sun, Tang, "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009, section 4, with the same
    constants. As the authors recommend later, a guided filter (He, Sun, Tang, "Guided Image Filtering", ECCV 2010)
    replaces soft matting to refine the transmission; its radius is four patches.

    Args:
        image: hazy image, ``(H, W, 3)``, uint8 RGB.
        patch: side of the patches, in pixels.
        keep: share of the haze to remove, omega.
        least: lower bound of the transmission, t_0.
    """
    hazy = image.astype(np.float32) / 255
    light = airlight(hazy, patch)
    transmission = 1 - keep * dark_channel(hazy / light, patch)
    transmission = guided_filter(hazy.mean(axis=2), transmission, radius=4 * patch, eps=1e-3)
    clear = (hazy - light) / np.maximum(transmission, least)[..., None] + light
    return np.rint(255 * np.clip(clear, 0, 1)).astype(np.uint8)


def dark_channel(image: np.ndarray, patch: int) -> np.ndarray:
    """Return the minimum of all colour values in the patch around each pixel."""
    return cv2.erode(image.min(axis=2), np.ones((patch, patch), np.uint8))


def airlight(hazy: np.ndarray, patch: int) -> np.ndarray:
    """Return the colour of the brightest pixel among the 0.1 % with the largest dark channel (section 4.4)."""
    dark = dark_channel(hazy, patch).ravel()
    colours = hazy.reshape(-1, 3)[np.argsort(dark)[-max(1, dark.size // 1000) :]]
    return np.maximum(colours[colours.sum(axis=1).argmax()], 1e-3)


def guided_filter(guide: np.ndarray, image: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Smooth an image but keep the edges of a grey guide, by averaging a linear model of the guide in each window."""

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (2 * radius + 1, 2 * radius + 1))

    slope = (mean(guide * image) - mean(guide) * mean(image)) / (mean(guide**2) - mean(guide) ** 2 + eps)
    offset = mean(image) - slope * mean(guide)
    return mean(slope) * guide + mean(offset)


if __name__ == '__main__':
    main()
