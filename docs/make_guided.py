"""Draw docs/guided.jpg: restoring with a guide beside restoring without one, from results of benchmarks/train_peers.py.

    python docs/make_guided.py results/faces_peers_sr4x_600s/comparison

Several folders may be given, if the networks were trained by several calls; the test images are the same in all.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from hifacegan_plugin.images.sheets import draw_sheet

TARGET = Path(__file__).resolve().parent / 'guided.jpg'
COLUMNS = ('degraded', 'guide', 'Guided', 'CSR fast', 'truth')
PORTRAITS = ('female_03', 'male_13')


def main(comparisons: list[str]) -> None:
    """Draw a row of images for each portrait."""
    files = {
        (file.parent.name, file.stem): file
        for comparison in comparisons
        for file in Path(comparison).glob('images/*/*/*.png')
    }
    rows = [[(column, cv2.imread(str(files[column, portrait]))) for column in COLUMNS] for portrait in PORTRAITS]
    cv2.imwrite(str(TARGET), draw_sheet(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == '__main__':
    main(sys.argv[1:])
