"""Measure the speed of the degradations on one core, optionally compared with imgaug.

    python benchmarks/degradations.py                  # only ours
    python benchmarks/degradations.py --with-imgaug    # both, alternating

imgaug 0.4 needs numpy < 1.24, so the script creates a separate virtual environment in .cache/. A second process there
runs imgaug, and is idle while ours is measured. The input is one image at a time, skimage.data.astronaut(), 512x512
uint8. Each figure is the median over all rounds, in processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'
REPOSITORY = Path(__file__).resolve().parents[1]
IMGAUG_ENVIRONMENT = REPOSITORY / '.cache/imgaug'
IMGAUG_PACKAGES = ('imgaug==0.4.0', 'numpy<1.24', 'opencv-python<4.12')

OURS = {
    'GaussianNoise': {'type': 'GaussianNoise', 'sigma': [20, 40]},
    'LaplaceNoise': {'type': 'LaplaceNoise', 'scale': [20, 40]},
    'PoissonNoise': {'type': 'PoissonNoise', 'rate': [15, 30]},
    'MotionBlur': {'type': 'MotionBlur', 'size': [10, 20]},
    'GaussianBlur': {'type': 'GaussianBlur', 'sigma': [3, 8]},
    'noise': 'noise',
    'blur': 'blur',
    'jpeg': 'jpeg',
    'down': {'type': 'ResizeBack', 'steps': ['down']},
    'full': 'full',
}
Timer = Callable[[str, int, int], float]


def our_timer() -> Timer:
    """Return a function that takes a case, the first seed and the number of images, and returns seconds."""
    sys.path.insert(0, str(REPOSITORY))
    from hifacegan_plugin.data.degradations import build_degradation, make_generator

    return timer({case: build_degradation(recipe) for case, recipe in OURS.items()}, make_generator)


def serve_imgaug() -> None:
    """Read ``[case, first seed, number of images]`` from stdin and write seconds to stdout, line by line."""
    import imgaug
    from imgaug import augmenters as iaa

    noise = {
        'GaussianNoise': iaa.AdditiveGaussianNoise(scale=(20, 40), per_channel=True),
        'LaplaceNoise': iaa.AdditiveLaplaceNoise(scale=(20, 40), per_channel=True),
        'PoissonNoise': iaa.AdditivePoissonNoise(lam=(15, 30), per_channel=True),
    }
    blur = {
        'MotionBlur': iaa.MotionBlur(k=(10, 20)),
        'GaussianBlur': iaa.GaussianBlur(sigma=(3.0, 8.0)),
    }
    groups = {
        'noise': iaa.OneOf(list(noise.values())),
        'blur': iaa.OneOf(list(blur.values())),
        'jpeg': iaa.JpegCompression(compression=(50, 85)),
        'down': iaa.Sequential(
            [iaa.Resize((0.125, 0.25), interpolation='cubic'), iaa.Resize(512, interpolation='cubic')]
        ),
    }
    cases = {**noise, **blur, **groups, 'full': iaa.Sequential(list(groups.values()), random_order=True)}
    steps = {case: lambda image, _, augment=augmenter: augment(image=image) for case, augmenter in cases.items()}
    measure = timer(steps, imgaug.seed)
    for line in sys.stdin:
        print(json.dumps(measure(*json.loads(line))), flush=True)


def timer(steps: dict[str, Callable], seeded: Callable) -> Timer:
    """Return a function that measures a step on a number of images, each with its own seed."""
    import cv2
    import skimage.data

    cv2.setNumThreads(0)
    image = skimage.data.astronaut()

    def measure(case: str, seed: int, images: int) -> float:
        start = time.process_time()
        for i in range(seed, seed + images):
            steps[case](image, seeded(i))
        return time.process_time() - start

    return measure


def imgaug_timer() -> Timer:
    """Start a process in imgaug's environment, which is created if necessary; return a function that queries it."""
    python = IMGAUG_ENVIRONMENT / 'bin/python'
    if not python.exists():
        print(f'creating {IMGAUG_ENVIRONMENT} for imgaug, which takes a minute ...', file=sys.stderr)
        venv.create(IMGAUG_ENVIRONMENT, with_pip=True)
        subprocess.run([python, '-m', 'pip', 'install', '--quiet', *IMGAUG_PACKAGES], check=True)
    server = subprocess.Popen(
        [python, __file__, '--serve-imgaug'], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def measure(*question: str | int) -> float:
        print(json.dumps(question), file=server.stdin, flush=True)
        return json.loads(server.stdout.readline())

    return measure


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--with-imgaug', action='store_true', help='compare with imgaug 0.4')
    parser.add_argument('--rounds', type=int, default=15, help='default: %(default)s')
    parser.add_argument('--images', type=int, default=20, help='images per round and case; default: %(default)s')
    parser.add_argument('--serve-imgaug', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if args.serve_imgaug:
        serve_imgaug()
        return

    timers = {'ours': our_timer()}
    if args.with_imgaug:
        timers['imgaug'] = imgaug_timer()
    seconds = {(side, case): [] for side in timers for case in OURS}
    for measure in timers.values():
        for case in OURS:
            measure(case, 0, 2)  # warm-up
    for turn in range(args.rounds):
        for case in OURS:
            for side, measure in timers.items():
                seconds[side, case].append(measure(case, turn * args.images, args.images))

    print('| step | ' + ' | '.join(f'{side} (img/s)' for side in timers) + (' | ratio |' if args.with_imgaug else ' |'))
    print('|---|' + '---|' * (len(timers) + args.with_imgaug))
    for case in OURS:
        rates = [args.images / statistics.median(seconds[side, case]) for side in timers]
        ratio = [f'{rates[0] / rates[1]:.1f}x'] if args.with_imgaug else []
        print('| ' + ' | '.join([case, *(f'{rate:.0f}' for rate in rates), *ratio]) + ' |')


if __name__ == '__main__':
    main()
