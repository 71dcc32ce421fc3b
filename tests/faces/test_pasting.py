import math

import cv2
import numpy as np
import pytest

from hifacegan_plugin.faces.alignment import Square, apply, cut, to_image
from hifacegan_plugin.faces.pasting import FEATHER, feathered_mask, paste


def square_at(x, y, side, angle=0):
    half = side / 2 * np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    return Square(np.array([x, y], float), half)


SQUARES = {
    'as large as the crop': square_at(49.5, 39.5, 32),
    'turned': square_at(50.3, 38.8, 41, 23),
    'larger': square_at(47.1, 42.6, 70, -12),
    'smaller': square_at(33.2, 21.7, 13, 170),
    'over the border': square_at(3.4, 75.2, 44, 30),
}


def plane(across, down, start):
    y, x = np.mgrid[:80, :100]
    return (start + across * x + down * y).astype(np.uint16)


def place_in_square(square, shape):
    """Return the coordinates of each pixel in a square, from 0 to 1 across and down."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (
        apply(cv2.invertAffineTransform(to_image(square, 1)), np.stack([x, y], -1).reshape(-1, 2)).reshape(
            *shape[:2], 2
        )
        + 0.5
    )


@pytest.mark.parametrize('square', SQUARES.values(), ids=SQUARES)
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [(), (3,)])
def test_pasting_an_unchanged_crop_does_not_change_the_image(square, dtype, channels):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (80, 100, *channels), dtype, True)
    pasted = image.copy()
    paste(pasted, cut(image, square, 32), square)
    np.testing.assert_array_equal(pasted, image)


@pytest.mark.parametrize('square', SQUARES.values(), ids=SQUARES)
def test_pixels_outside_the_square_do_not_change(square):
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    pasted = image.copy()
    paste(pasted, 255 - cut(image, square, 32), square)
    there = place_in_square(square, image.shape)
    pixels = 2 * max(1, square.side / 32) / square.side  # reach of bicubic interpolation
    outside = ((there < -pixels) | (there > 1 + pixels)).any(-1)
    np.testing.assert_array_equal(pasted[outside], image[outside])
    assert (pasted[~outside] != image[~outside]).mean() > 0.5


@pytest.mark.parametrize('square', SQUARES.values(), ids=SQUARES)
def test_the_middle_is_replaced_by_the_crop(square):
    """The pixels of a crop of another image are pasted at their positions."""
    pasted, other = plane(90, 20, 0), plane(-70, 100, 25_000)
    paste(pasted, cut(other, square, 32), square)
    there = place_in_square(square, pasted.shape)
    margin = FEATHER + 2 / min(32, square.side)
    middle = ((there > margin) & (there < 1 - margin)).all(-1)
    assert middle.sum() > 15
    difference = pasted[middle].astype(int) - other[middle]
    assert np.abs(difference).mean() < 60  # the step between pixels is 90; the original values differ by 10,000


def test_the_crop_is_blended_without_steps():
    side = 64
    image = np.zeros((64, 64), np.uint8)
    paste(image, np.full((side, side), 200, np.uint8), square_at(31.5, 31.5, 64))
    np.testing.assert_array_equal(image, np.rint(200 * feathered_mask(side)))
    middle = image[32].astype(int)
    assert middle[0] < 4 and (middle[8:56] == 200).all() and (np.diff(middle[:32]) >= 0).all()
    steepest = 200 * math.pi / 2 / (FEATHER * side)  # for half a period of a cosine
    assert np.abs(np.diff(middle)).max() <= math.ceil(steepest)


def test_finer_details_than_in_the_crop_are_kept():
    """If the crop gets brighter by 10 levels, so do stripes of one pixel, which the crop cannot show."""
    stripes = np.tile(np.array([80, 120], np.uint8), (128, 64))
    square = square_at(63.5, 63.5, 128)
    crop = cut(stripes, square, 32)
    assert np.ptp(crop) == 0
    pasted = stripes.copy()
    paste(pasted, crop + 10, square)
    np.testing.assert_array_equal(pasted[32:96, 32:96], stripes[32:96, 32:96] + 10)
