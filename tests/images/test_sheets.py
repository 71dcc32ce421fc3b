"""Tests of contact sheets."""

import numpy as np
from skimage import data

from hifacegan_plugin.images.sheets import LABEL_HEIGHT, MARGIN, draw_sheet


def test_layout_of_images():
    wide, tall, grey = data.astronaut()[:40, :90], data.chelsea()[:70, :30], data.camera()[:20, :50]
    sheet = draw_sheet([[('', wide), ('', tall)], [('', grey)]])
    assert sheet.shape == (70 + MARGIN + 20 + MARGIN, 90 + MARGIN + 30 + MARGIN, 3)
    expected = np.full_like(sheet, 255)
    expected[:40, :90] = wide
    expected[:70, 90 + MARGIN :][:, :30] = tall
    expected[70 + MARGIN :][:20, :50] = grey[..., None]
    np.testing.assert_array_equal(sheet, expected)


def test_layout_of_labels():
    image = data.astronaut()[:40, :120]
    sheet = draw_sheet([[('a', image), ('', image), ('far too long for an image of this width', image)]])
    assert sheet.shape == (LABEL_HEIGHT + 40 + MARGIN, 3 * (120 + MARGIN), 3)
    labels = np.split(sheet[:LABEL_HEIGHT].min(2), 3, axis=1)
    assert [(label < 128).any() for label in labels] == [True, False, True]
    assert all((label[:, 120:] == 255).all() for label in labels)
    for column in range(3):
        left = column * (120 + MARGIN)
        np.testing.assert_array_equal(sheet[LABEL_HEIGHT : LABEL_HEIGHT + 40, left : left + 120], image)


def test_a_row_without_labels():
    image = data.astronaut()[:40, :120]
    assert draw_sheet([[('a', image)], [('', image)]]).shape[0] == LABEL_HEIGHT + 2 * (40 + MARGIN)
