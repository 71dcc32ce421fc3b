import cv2
import numpy as np
import pytest
from skimage import data

from hifacegan_plugin.faces.alignment import cut
from hifacegan_plugin.faces.finding import find_faces
from hifacegan_plugin.faces.identity import embed_crop
from hifacegan_plugin.metrics import calculate_fed

PORTRAIT = np.ascontiguousarray(data.astronaut()[:256, 96:352])


@pytest.fixture(scope='module')
def square():
    return find_faces(PORTRAIT, 128, '5')[0].square


def distance(one, other):
    return np.linalg.norm(embed_crop(one) - embed_crop(other))


def test_distance_is_close_to_the_metric(square):
    """FED detects the face in each image, whereas the crop determines its position."""
    blurred = cv2.GaussianBlur(PORTRAIT, (0, 0), 3)
    fed = calculate_fed(blurred[..., ::-1], PORTRAIT[..., ::-1])
    assert fed > 0.1
    assert distance(cut(PORTRAIT, square, 512), cut(blurred, square, 512)) == pytest.approx(fed, abs=0.1)


def test_distance_hardly_depends_on_the_side_of_the_crop(square):
    assert distance(cut(PORTRAIT, square, 512), cut(PORTRAIT, square, 200)) < 0.15
