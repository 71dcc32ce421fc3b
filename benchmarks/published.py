#!/usr/bin/env python3
"""Compare a network with classical denoisers and with published results, on Kodak's 24 images or others.

    python benchmarks/published.py --images kodak                        # the packaged network `general`
    python benchmarks/published.py --images kodak -w net_g.safetensors   # another network
    python benchmarks/published.py --images kodak --methods network nlm bm3d
    python benchmarks/published.py --images faces -w hifacegan_plugin/pretrained/faces.safetensors --cases full gfpgan

All methods get the same images: clean, or degraded by Gaussian noise, JPEG, Gaussian blur or, with --cases, recipes of
the package. Noisy images are clipped and rounded to 8 bits, as in files; published results are for noise that is
neither clipped nor rounded. The network gets only the image. The denoisers also get the standard deviation of the
noise: OpenCV's non-local means for colour images, and BM3D (the package `bm3d`, which is not a dependency because its
licence excludes commercial use).

The script prints the mean PSNR over all images in dB; -o writes the PSNR of each image as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hifacegan_plugin.commands.arguments import output_file
from hifacegan_plugin.data.degradations import build_degradation
from hifacegan_plugin.images.sources import find_images, read_image
from hifacegan_plugin.restore import Restorer
from hifacegan_plugin.system.files import write_file
from hifacegan_plugin.weights import PACKAGED

Method = Callable[[np.ndarray], np.ndarray]

NOISE = (15, 25, 50)
JPEG = (10, 20, 40)
BLUR = (1.0, 1.5, 2.0)
CLEAN = 'clean'
RECIPES = ('full', 'gfpgan', 'mosaic16x', 'noise', 'blur', 'jpeg')  # recipes that keep the size

# PSNR in dB on Kodak24, colour, at sigma 15, 25 and 50. Sources: Zhang et al., "FFDNet", IEEE TIP 2018 for the first
# three, Liang et al., "SwinIR", ICCVW 2021 for the last. All except the blind CDnCNN-B get sigma.
PUBLISHED = {
    'CBM3D': (34.28, 31.68, 28.46),
    'CDnCNN-B': (34.48, 32.03, 28.85),
    'FFDNet': (34.63, 32.13, 28.98),
    'SwinIR': (35.34, 32.89, 29.79),
}


def degradations() -> dict[str, Callable[[np.ndarray, int], np.ndarray]]:
    """Return degradations by name: functions of an image (uint8 RGB) and its number."""
    return {
        **{f'noise {sigma}': partial(add_noise, sigma=sigma) for sigma in NOISE},
        **{f'JPEG {quality}': partial(compress, quality=quality) for quality in JPEG},
        **{f'blur {sigma:g}': partial(blur, sigma=sigma) for sigma in BLUR},
        CLEAN: lambda image, number: image,
        **{recipe: partial(degrade, recipe=recipe) for recipe in RECIPES},
    }


def add_noise(image: np.ndarray, number: int, sigma: float) -> np.ndarray:
    """Add Gaussian noise, with a different seed for each image; clip and round."""
    noise = np.random.default_rng([number, int(sigma)]).normal(0, sigma, image.shape)
    return np.rint(np.clip(image + noise, 0, 255)).astype(np.uint8)


def compress(image: np.ndarray, number: int, quality: int) -> np.ndarray:
    """Compress as JPEG with colour at half resolution, OpenCV's default."""
    encoded = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def blur(image: np.ndarray, number: int, sigma: float) -> np.ndarray:
    """Blur with a Gaussian kernel; round to 8 bits."""
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def degrade(image: np.ndarray, number: int, recipe: str) -> np.ndarray:
    """Apply a recipe of the package, with a different seed for each image."""
    return build_degradation(recipe)(image, np.random.default_rng([number, 7]))


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR in dB; 100 for equal images."""
    error = np.square(image.astype(np.float64) - truth).mean()
    return 100.0 if error == 0 else float(10 * np.log10(255**2 / error))


def non_local_means(image: np.ndarray, sigma: float) -> np.ndarray:
    """Denoise with OpenCV's non-local means; its strength is proportional to sigma."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    return cv2.fastNlMeansDenoisingColored(bgr, None, 0.8 * sigma, 0.8 * sigma, 7, 21)[..., ::-1]


def bm3d(image: np.ndarray, sigma: float) -> np.ndarray:
    """Denoise with BM3D in colour."""
    from bm3d import bm3d_rgb

    restored = bm3d_rgb(image / 255, sigma / 255)
    return np.rint(np.clip(restored, 0, 1) * 255).astype(np.uint8)


DENOISERS = {'nlm': non_local_means, 'bm3d': bm3d}
NAMES = {'nlm': 'non-local means', 'bm3d': 'BM3D, given sigma'}


def read_images(folder: Path) -> dict[str, np.ndarray]:
    """Read all images of a folder, uint8 RGB."""
    try:
        sources = find_images(str(folder), 'disk', option='--images')
        return {source.name: read_image(source)[..., ::-1] for source in sources}
    except (ValueError, OSError) as error:
        raise SystemExit(f'{error}') from error


def measure(
    images: dict[str, np.ndarray], restorers: dict[str, Method], denoisers: list[str], cases: list[str]
) -> dict[str, dict[str, list[float]]]:
    """Return the PSNR of each image, by method and degradation."""
    figures: dict[str, dict[str, list[float]]] = {}
    steps = {case: step for case, step in degradations().items() if case in cases}
    for number, (name, truth) in enumerate(images.items()):
        began = time.perf_counter()
        for case, step in steps.items():
            degraded = step(truth, number)
            methods = {'input': lambda image: image, **restorers}
            if case.startswith('noise '):
                sigma = float(case.split()[1])
                methods |= {NAMES[key]: partial(DENOISERS[key], sigma=sigma) for key in denoisers}
            for method, restore in methods.items():
                value = psnr(restore(np.ascontiguousarray(degraded)), truth)
                figures.setdefault(method, {}).setdefault(case, []).append(value)
        print(f'{number + 1}/{len(images)} {name}: {time.perf_counter() - began:.0f} s', file=sys.stderr, flush=True)
    return figures


def table(figures: dict[str, dict[str, list[float]]], cases: list[str]) -> str:
    """Return a Markdown table of means and published results."""
    lines = ['| PSNR / dB | ' + ' | '.join(cases) + ' |', '|---|' + '---:|' * len(cases)]
    for method, by_case in figures.items():
        cells = [f'{np.mean(by_case[case]):.2f}' if case in by_case else '' for case in cases]
        lines.append(f'| {method} | ' + ' | '.join(cells) + ' |')
    for method, values in PUBLISHED.items():
        published = dict(zip([f'noise {sigma}' for sigma in NOISE], values))
        cells = [f'{published[case]:.2f}' if case in published else '' for case in cases]
        lines.append(f'| *{method}, published* | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=Path, required=True, metavar='FOLDER')
    parser.add_argument('-w', '--weights', type=Path, nargs='+', default=[PACKAGED['general']])
    parser.add_argument('--methods', nargs='+', choices=('network', *DENOISERS), default=['network', 'nlm'])
    default_cases = [case for case in degradations() if case not in RECIPES]
    parser.add_argument('--cases', nargs='+', choices=tuple(degradations()), default=default_cases)
    parser.add_argument('--first', type=int, metavar='N', help='use only the first N images')
    parser.add_argument('-o', '--output', type=output_file, help='JSON file for the PSNR of each image')
    args = parser.parse_args()
    images = dict(list(read_images(args.images).items())[: args.first])
    restorers = {path.stem: Restorer(path) for path in args.weights} if 'network' in args.methods else {}
    denoisers = [method for method in args.methods if method in DENOISERS]
    figures = measure(images, restorers, denoisers, args.cases)
    print(table(figures, args.cases))
    if args.output:
        write_file(args.output, json.dumps({'images': list(images), 'figures': figures}, indent=1).encode())


if __name__ == '__main__':
    main()
