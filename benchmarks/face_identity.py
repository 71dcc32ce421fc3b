#!/usr/bin/env python3
"""Measure distances between face embeddings: before and after restoring, and between different people.

    python benchmarks/face_identity.py --portraits datasets/faces/portraits

The limit of `hifacegan restore --keep-identity` is based on these distances. The script uses only training portraits:
it skips test portraits, which have numbers that end in 3. It prints percentiles of the distances between degraded and
restored crops, between each of these and the ground truth, and between different portraits.
"""

from __future__ import annotations

import argparse
import sys
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hifacegan_plugin.data.degradations import build_degradation
from hifacegan_plugin.faces.alignment import cut
from hifacegan_plugin.faces.finding import find_faces
from hifacegan_plugin.faces.identity import embed_crop
from hifacegan_plugin.restore import Restorer
from hifacegan_plugin.restore.faces import IDENTITY_LIMIT, LANDMARKS, SIDE

PERCENTILES = (0, 1, 5, 50, 95, 99, 100)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--portraits', type=Path, required=True, metavar='FOLDER')
    parser.add_argument('--every', type=int, default=7, metavar='N', help='use every Nth portrait (default: 7)')
    parser.add_argument('--degradations', nargs='+', default=['gfpgan', 'full', 'noise'], metavar='RECIPE')
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.portraits.glob('*.jpg') if not path.stem.endswith('3'))
    crops = [crop for path in paths[:: arguments.every] if (crop := read_face(path)) is not None]
    truths = [embed_crop(crop) for crop in crops]
    print(f'{len(crops)} portraits; the limit is {IDENTITY_LIMIT}')
    print(f'{"percentile":<34}' + ''.join(f'{percentile:>7}' for percentile in PERCENTILES))
    show('different portraits', [distance(one, other) for one, other in combinations(truths, 2)])
    restore = Restorer('faces')
    for name in arguments.degradations:
        degrade = build_degradation(name)
        degraded = [degrade(crop, np.random.default_rng(number)) for number, crop in enumerate(crops)]
        before, after = [embed_crop(crop) for crop in degraded], [embed_crop(restore(crop)) for crop in degraded]
        for pair, ones, others in (
            ('degraded, restored', before, after),
            ('ground truth, degraded', truths, before),
            ('ground truth, restored', truths, after),
        ):
            show(f'{name}: {pair}', [distance(*embeddings) for embeddings in zip(ones, others)])


def read_face(path: Path) -> np.ndarray | None:
    """Return the aligned crop of a portrait, RGB; None if no face is found."""
    portrait = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    faces = find_faces(portrait, 256, LANDMARKS)
    return cut(portrait, faces[0].square, SIDE) if faces else None


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Euclidean distance of two embeddings."""
    return float(np.linalg.norm(one - other))


def show(what: str, distances: list[float]) -> None:
    """Print percentiles of distances."""
    values = np.percentile(distances, PERCENTILES)
    print(f'{what:<34}' + ''.join(f'{value:>7.2f}' for value in values), flush=True)


if __name__ == '__main__':
    main()
