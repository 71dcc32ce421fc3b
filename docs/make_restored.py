"""Draw docs/restored.jpg: degraded images, results of the packaged networks, and the ground truth.

    python docs/make_restored.py [datasets/faces/test.lmdb]

The portraits are test portraits of `make faces`; the other images are from scikit-image. No network was trained on
these images.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from hifacegan_plugin.data.degradations import build_degradation
from hifacegan_plugin.data.degradations.compose import Recipe
from hifacegan_plugin.images.sources import find_images, read_image
from hifacegan_plugin.restore import Restorer

TARGET = Path(__file__).resolve().parent / 'restored.jpg'
SHOWN = 256  # side of an image on the sheet, in pixels


def main(test_portraits: str) -> None:
    """Draw the sheet; ``test_portraits`` is the test database of `make faces`."""
    first, second, third = (
        cv2.cvtColor(read_image(source), cv2.COLOR_BGR2RGB) for source in find_images(test_portraits, 'lmdb')[:3]
    )
    faces, general = Restorer('faces'), Restorer('general')
    noise_and_jpeg = [{'type': 'GaussianNoise', 'sigma': 12}, {'type': 'JPEG', 'quality': 25}]
    blur = {'type': 'GaussianBlur', 'sigma': 1.5}
    rows = [
        before_after_truth(first, 'full', faces)
        + before_after_truth(data.chelsea()[20:276, 100:356], {'type': 'GaussianNoise', 'sigma': 35}, general),
        before_after_truth(second, 'mosaic16x', faces)
        + before_after_truth(data.coffee()[80:336, 160:416], noise_and_jpeg, general),
        before_after_truth(third, 'noise', faces) + before_after_truth(data.astronaut()[:256, 96:352], blur, general),
    ]
    sheet = np.vstack([np.hstack(row) for row in rows])
    cv2.imwrite(str(TARGET), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])


def before_after_truth(truth: np.ndarray, recipe: Recipe, restorer: Restorer) -> list[np.ndarray]:
    """Degrade and restore an image ``(H, W, 3)``, uint8 RGB; return all three images at the size on the sheet."""
    degraded = build_degradation(recipe)(truth, np.random.default_rng(0))
    images = (degraded, restorer(degraded), truth)
    return [cv2.resize(image, (SHOWN, SHOWN), interpolation=cv2.INTER_AREA) for image in images]


if __name__ == '__main__':
    main(sys.argv[1] if len(sys.argv) > 1 else 'datasets/faces/test.lmdb')
