import cv2
import numpy as np
import pytest

from hifacegan_plugin.metrics.inputs import bgr_to_rgb, check_image, check_pair

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_order_and_border():
    cropped = check_image(IMAGE.transpose(2, 0, 1), crop_border=3, input_order='CHW')
    np.testing.assert_array_equal(cropped, IMAGE[3:-3, 3:-3])


def test_grey_gets_a_channel_axis():
    assert check_image(IMAGE[..., 0]).shape == (20, 30, 1)


def test_rgb_equals_opencv():
    np.testing.assert_array_equal(bgr_to_rgb(IMAGE), cv2.cvtColor(IMAGE, cv2.COLOR_BGR2RGB))
    np.testing.assert_array_equal(bgr_to_rgb(IMAGE[..., :1]), cv2.cvtColor(IMAGE[..., 0], cv2.COLOR_GRAY2RGB))
    assert bgr_to_rgb(IMAGE).flags.c_contiguous


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((IMAGE, IMAGE[1:]), r'\(20, 30, 3\) and \(19, 30, 3\)'),
        ((IMAGE[..., :2], IMAGE[..., :2]), r'grey or BGR .* \(20, 30, 2\)'),
        ((IMAGE, IMAGE, 0, 'CHW'), "input_order 'CHW'"),
        ((IMAGE, IMAGE, 10), 'crop_border 10 .* 20x30'),
        ((IMAGE, IMAGE, -1), 'crop_border -1'),
        ((IMAGE, np.where(IMAGE > 250, np.nan, IMAGE)), 'NaN'),
    ],
)
def test_invalid_images_are_reported(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_pair(*arguments)
