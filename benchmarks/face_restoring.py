#!/usr/bin/env python3
"""Measure `hifacegan restore --faces` on degraded photographs of three people, composed of test portraits.

    python benchmarks/face_restoring.py --portraits datasets/faces/portraits --sheet docs/faces.jpg

The script prints the PSNR inside and outside the squares of the faces, the mean step of luma between pixels across the
borders of the squares, and the processor time. It compares the degraded image, the general network alone, faces and
background, and faces pasted without a feathered mask.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hifacegan_plugin.commands.arguments import output_file
from hifacegan_plugin.data.degradations import build_degradation
from hifacegan_plugin.faces.alignment import Square
from hifacegan_plugin.restore import FaceOptions, RestoredFace, Restorer, restore_faces
from hifacegan_plugin.system.files import write_file

SIDE = 560  # side of each portrait in the photograph, in pixels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--portraits', type=Path, required=True, metavar='FOLDER', help='only those ending in 3 are used'
    )
    parser.add_argument('--degradation', default='gfpgan', metavar='RECIPE', help='(default: %(default)s)')
    parser.add_argument('--photographs', type=int, default=2, metavar='N', help='number of photographs (default: 2)')
    parser.add_argument('--sheet', type=output_file, metavar='JPG', help='write the first one before and after')
    arguments = parser.parse_args()
    degrade = build_degradation(arguments.degradation)
    portraits = sorted(path for path in arguments.portraits.glob('*.jpg') if path.stem.endswith('3'))
    faces, general = Restorer('faces'), Restorer('general')
    rows: list[dict[str, list[float]]] = []
    for number in range(arguments.photographs):
        truth = compose(portraits[3 * number : 3 * number + 3])
        degraded = degrade(truth, np.random.default_rng(number))
        results, found, seconds = restore_by_all(degraded, faces, general)
        squares = [face.face.square for face in found]
        print(
            f'photograph {number}: {len(found)} of 3 faces found, identity distances '
            + ', '.join(f'{face.identity_distance:.2f}' for face in found)
        )
        rows.append({name: [*measure(image, truth, squares), seconds[name]] for name, image in results.items()})
        if arguments.sheet and number == 0:
            write_sheet(arguments.sheet, degraded, results['faces and background'])
    print(f'{"mean":<24}{"faces, dB":>10}{"rest, dB":>10}{"step at the border":>20}{"seconds":>9}')
    for name in rows[0]:
        psnr_faces, psnr_rest, step, seconds_taken = np.mean([row[name] for row in rows], axis=0)
        print(f'{name:<24}{psnr_faces:>10.2f}{psnr_rest:>10.2f}{step:>20.3f}{seconds_taken:>9.2f}')


def compose(portraits: list[Path]) -> np.ndarray:
    """Return an image of three portraits side by side, RGB."""
    images = (cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in portraits)
    return np.hstack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])


def restore_by_all(
    degraded: np.ndarray, faces: Restorer, general: Restorer
) -> tuple[dict[str, np.ndarray], list[RestoredFace], dict[str, float]]:
    """Return the results of all methods, the faces, and the processor time of each method in seconds."""
    results, seconds = {'degraded': degraded}, {'degraded': 0.0}

    def run(name: str, restore: Callable[[], np.ndarray]) -> None:
        start = time.process_time()
        results[name] = restore()
        seconds[name] = time.process_time() - start

    found: list[RestoredFace] = []

    def with_faces() -> np.ndarray:
        result, found[:] = restore_faces(degraded, faces, general, FaceOptions())
        return result

    run('background alone', lambda: general(degraded))
    run('faces and background', with_faces)
    with mock.patch('hifacegan_plugin.faces.pasting.FEATHER', 1e-6):
        run('the same, no feather', with_faces)
    return results, found, seconds


def measure(image: np.ndarray, truth: np.ndarray, squares: list[Square]) -> tuple[float, float, float]:
    """Return the PSNR inside and outside the squares, in dB, and the mean step across their borders, in levels."""
    inside = np.zeros(truth.shape[:2], np.uint8)
    for square in squares:
        cv2.fillConvexPoly(inside, np.rint(square.corners).astype(int), 1)
    error = ((image.astype(float) - truth) ** 2).mean(-1)
    psnr = [10 * np.log10(255**2 / error[inside == value].mean()) for value in (1, 0)]
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(luma, cv2.CV_32F, 0, 1, scale=1 / 8)
    steps = [abs_step for square in squares for abs_step in steps_across(across, down, square)]
    return psnr[0], psnr[1], float(np.mean(steps))


def steps_across(across: np.ndarray, down: np.ndarray, square: Square) -> list[float]:
    """Return absolute gradients across the sides of a square, at all pixels along them that are inside the image."""
    corners = square.corners
    steps = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0)):
        normal = np.array([-(end - start)[1], (end - start)[0]]) / square.side
        for place in np.linspace(start, end, round(square.side))[2:-2]:
            x, y = np.rint(place).astype(int)
            if 0 <= x < across.shape[1] and 0 <= y < across.shape[0]:
                steps.append(abs(normal[0] * across[y, x] + normal[1] * down[y, x]))
    return steps


def write_sheet(path: Path, degraded: np.ndarray, restored: np.ndarray) -> None:
    """Write both images, one above the other, as JPEG."""
    sheet = cv2.resize(np.vstack([degraded, restored]), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode('.jpg', cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    write_file(path, encoded.tobytes())


if __name__ == '__main__':
    main()
