"""Tests of writing PNG files."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from hifacegan_plugin.images.writing import encode_png, write_png


@pytest.mark.parametrize('image', [data.camera()[:40, :50], data.astronaut()[:40, :50]], ids=['grey', 'colour'])
def test_round_trip(tmp_path, image):
    write_png(tmp_path / 'new/folder/x.png', image)
    np.testing.assert_array_equal(Image.open(tmp_path / 'new/folder/x.png'), image)
    assert [path.name for path in (tmp_path / 'new/folder').iterdir()] == ['x.png']


@pytest.mark.parametrize('level', [1, 9])
def test_round_trip_with_16_bits(level):
    image = np.random.default_rng(0).integers(0, 65536, (40, 50), np.uint16)
    np.testing.assert_array_equal(Image.open(io.BytesIO(encode_png(image, level))), image)


def test_write_errors_are_reported(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match=r'file/x\.png cannot be written \((File exists|Not a directory)\)'):
        write_png(tmp_path / 'file/x.png', data.camera())
