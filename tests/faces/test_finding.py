"""Tests of face detection and landmarks, on the astronaut of scikit-image."""

import importlib.util
import math
import sys

import cv2
import numpy as np
import pytest
from skimage import data

from hifacegan_plugin.faces import finding, landmarks
from hifacegan_plugin.faces.alignment import apply
from hifacegan_plugin.faces.dlib_models import FaceModelsMissingError
from hifacegan_plugin.faces.finding import find_faces
from hifacegan_plugin.faces.landmarks import MODELS, Landmarks

ASTRONAUT = data.astronaut()
EYES, MOUTH = [[205, 102], [247, 104]], [[202, 139], [245, 142]]  # found by another detector (MTCNN)


@pytest.mark.parametrize('model', MODELS)
def test_the_face_is_found(model):
    (face,) = find_faces(ASTRONAUT, 100, model)
    np.testing.assert_allclose(face.landmarks.eyes, EYES, atol=4)
    np.testing.assert_allclose(face.landmarks.mouth, MOUTH, atol=8)
    assert face.square.side == pytest.approx(4 * face.landmarks.eye_distance, rel=0.2)
    assert abs(face.square.roll) < 10


def test_no_face_is_found_in_an_image_without_faces():
    assert find_faces(data.coffee(), 100) == []
    assert find_faces(np.zeros((1, 1, 3), np.uint8), 100) == []


def test_faces_are_sorted_by_size():
    two = np.hstack(
        [
            cv2.resize(ASTRONAUT, (384, 384), interpolation=cv2.INTER_AREA),
            np.zeros((384, 16, 3), np.uint8),
            ASTRONAUT[:384],
        ]
    )
    large, small = find_faces(two, 100)
    assert large.landmarks.eyes[0, 0] > 400 > small.landmarks.eyes[1, 0]
    assert large.square.side > 1.2 * small.square.side


def test_minimum_size():
    small = cv2.resize(ASTRONAUT, (192, 192), interpolation=cv2.INTER_AREA)
    assert find_faces(small, 400) == []
    (face,) = find_faces(small, 60)
    assert face.square.side == pytest.approx(find_faces(ASTRONAUT, 100)[0].square.side * 192 / 512, rel=0.04)


@pytest.mark.parametrize('model', MODELS)
@pytest.mark.parametrize(('angle', 'scale'), [(-20, 1.0), (12, 1.3), (20, 0.8)])
def test_landmarks_follow_a_similarity_within_1_per_cent(model, angle, scale):
    transform = cv2.getRotationMatrix2D((225, 128), angle, scale)
    transform[:, 2] += 91.3, 140.7
    turned = cv2.warpAffine(ASTRONAUT, transform, (700, 600), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    expected = find_faces(ASTRONAUT, 100, model)[0].landmarks

    def distance(face):
        return math.dist(face.landmarks.eyes.mean(0), apply(transform, expected.eyes.mean(0)))

    found = min(find_faces(turned, 100, model), key=distance).landmarks
    one_per_cent = expected.eye_distance * scale / 100
    assert np.hypot(*(found.eyes - apply(transform, expected.eyes)).T).mean() < one_per_cent
    assert np.hypot(*(found.mouth - apply(transform, expected.mouth)).T).mean() < 2 * one_per_cent


@pytest.mark.parametrize('roll', [-30, 0, 45])
@pytest.mark.parametrize('yaw', [-40, 0, 25])
def test_yaw_of_a_head_of_average_depth(yaw, roll):
    """Rotate and project the points of a head."""
    head = np.array([[-31, 0, 0], [31, 0, 0], [0, 42, 31 * 2 * 0.37], [-25, 65, 10], [25, 65, 10]])
    turn, tilt = math.radians(yaw), math.radians(roll)
    x, y = head[:, 0] * math.cos(turn) + head[:, 2] * math.sin(turn), head[:, 1]
    seen = np.stack([x * math.cos(tilt) - y * math.sin(tilt), x * math.sin(tilt) + y * math.cos(tilt)], -1)
    assert Landmarks(seen[:2], seen[2], seen[3:]).yaw == pytest.approx(yaw)


@pytest.fixture
def nothing_loaded():
    finding.load_detector.cache_clear()
    landmarks.load_model.cache_clear()


@pytest.mark.usefixtures('nothing_loaded')
def test_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, 'dlib', None)
    with pytest.raises(FaceModelsMissingError, match=r'dlib .*hifacegan-plugin\[faces\]'):
        find_faces(ASTRONAUT, 100)


@pytest.mark.usefixtures('nothing_loaded')
def test_missing_models(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(FaceModelsMissingError, match=r'shape_predictor_68.*hifacegan-plugin\[faces\]'):
        find_faces(ASTRONAUT, 100)
