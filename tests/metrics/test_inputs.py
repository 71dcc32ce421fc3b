import cv2
import numpy as np
import pytest

from hifacegan_plugin.metrics.inputs import bgr_to_rgb, check_image, check_pair

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_order_and_border():
    cropped = check_image(PICTURE.transpose(2, 0, 1), crop_border=3, input_order='CHW')
    np.testing.assert_array_equal(cropped, PICTURE[3:-3, 3:-3])


def test_grey_gets_a_channel_axis():
    assert check_image(PICTURE[..., 0]).shape == (20, 30, 1)


def test_rgb_is_opencv_s():
    np.testing.assert_array_equal(bgr_to_rgb(PICTURE), cv2.cvtColor(PICTURE, cv2.COLOR_BGR2RGB))
    np.testing.assert_array_equal(bgr_to_rgb(PICTURE[..., :1]), cv2.cvtColor(PICTURE[..., 0], cv2.COLOR_GRAY2RGB))
    assert bgr_to_rgb(PICTURE).flags.c_contiguous


@pytest.mark.parametrize(('arguments', 'message'), [
    ((PICTURE, PICTURE[1:]), r'\(20, 30, 3\) and \(19, 30, 3\)'),
    ((PICTURE[..., :2], PICTURE[..., :2]), r'grey or BGR .* \(20, 30, 2\)'),
    ((PICTURE, PICTURE, 0, 'CHW'), "input_order 'CHW'"),
    ((PICTURE, PICTURE, 10), 'crop_border 10 .* 20x30'),
    ((PICTURE, PICTURE, -1), 'crop_border -1'),
    ((PICTURE, np.where(PICTURE > 250, np.nan, PICTURE)), 'NaN'),
])
def test_bad_pictures_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_pair(*arguments)
