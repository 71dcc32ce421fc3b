import importlib.metadata
import importlib.util
import math
import sys
from collections import OrderedDict

import cv2
import dlib
import numpy as np
import pytest
from skimage import data

from hifacegan_plugin.faces import finding, landmarks
from hifacegan_plugin.metrics import calculate_fed, calculate_lle, face
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

RGB = np.ascontiguousarray(data.astronaut()[:256, 80:336])
TRUTH = np.ascontiguousarray(RGB[..., ::-1])
BLURRED = cv2.GaussianBlur(TRUTH, (0, 0), 3)
NO_FACE = np.ascontiguousarray(data.coffee()[:256, :256, ::-1])


def model(kind, name):
    package = importlib.metadata.distribution('face-recognition-models')
    return getattr(dlib, kind)(str(package.locate_file(f'face_recognition_models/models/{name}.dat')))


@pytest.fixture(scope='module')
def describe():
    """Return the embedding and landmarks of an RGB image with one face, using only dlib."""
    detect = dlib.get_frontal_face_detector()
    landmarks68 = model('shape_predictor', 'shape_predictor_68_face_landmarks')
    landmarks5 = model('shape_predictor', 'shape_predictor_5_face_landmarks')
    embed = model('face_recognition_model_v1', 'dlib_face_recognition_resnet_model_v1')

    def call(rgb):
        (box,) = detect(rgb, 1)
        shape = landmarks68(rgb, box)
        points = [(shape.part(i).x, shape.part(i).y) for i in range(68)]
        return np.array(embed.compute_face_descriptor(rgb, landmarks5(rgb, box))), np.array(points)

    return call


@pytest.mark.parametrize('restored', [BLURRED, 255 - (255 - TRUTH) // 2, np.roll(TRUTH, (3, -4), (0, 1))])
def test_equals_dlib(describe, restored):
    embedding, points = describe(RGB)
    restored_embedding, restored_points = describe(np.ascontiguousarray(restored[..., ::-1]))
    assert calculate_fed(restored, TRUTH) == pytest.approx(np.linalg.norm(restored_embedding - embedding), abs=1e-6)
    dx, dy = (restored_points - points).T
    assert calculate_lle(restored, TRUTH) == pytest.approx(np.hypot(dx, dy).mean(), abs=1e-9)


def test_equal_images():
    assert calculate_fed(TRUTH, TRUTH) == calculate_lle(TRUTH, TRUTH) == 0


@pytest.mark.parametrize('shift', [(3, -4), (0, 8), (-6, 0)])
def test_landmarks_follow_a_shift(shift):
    shifted = np.roll(TRUTH, shift, (0, 1))
    assert calculate_lle(shifted, TRUTH) == pytest.approx(math.hypot(*shift), abs=0.5)
    assert calculate_fed(shifted, TRUTH) < 0.1


def test_worse_images_have_larger_values():
    sharper = cv2.GaussianBlur(TRUTH, (0, 0), 1.5)
    for metric in (calculate_fed, calculate_lle):
        assert 0 < metric(sharper, TRUTH) < metric(BLURRED, TRUTH)


@pytest.mark.parametrize('metric', [calculate_fed, calculate_lle])
@pytest.mark.parametrize('pair', [(NO_FACE, TRUTH), (TRUTH, NO_FACE), (NO_FACE, NO_FACE)])
def test_images_without_a_face_have_no_value(metric, pair):
    assert math.isnan(metric(*pair))


@pytest.mark.parametrize('sure_side', [0, 1])
def test_the_same_face_is_compared(sure_side):
    faint = cv2.GaussianBlur(TRUTH, (0, 0), 2)
    truth = np.hstack([faint, TRUTH] if sure_side else [TRUTH, faint])
    restored = np.hstack([TRUTH, faint] if sure_side else [faint, TRUTH])
    found = face.measure_faces(restored, 1)
    assert len(found) == 2 and (found[0].box.left() < 256) == sure_side  # the other face has the highest confidence
    assert calculate_lle(restored, truth) < 5


def test_a_face_at_another_place_is_not_compared():
    grey = np.full_like(TRUTH, 128)
    assert math.isnan(calculate_fed(np.hstack([grey, TRUTH]), np.hstack([TRUTH, grey])))


def test_each_image_is_measured_once(monkeypatch):
    measured, measure = [], face._measure
    monkeypatch.setattr(face, '_kept', OrderedDict())
    monkeypatch.setattr(face, 'KEPT', 2)
    monkeypatch.setattr(face, '_measure', lambda rgb, upsample: measured.append(rgb) or measure(rgb, upsample))
    for restored in (BLURRED, NO_FACE):
        calculate_fed(restored, TRUTH)
        calculate_lle(restored, TRUTH)
    assert len(measured) == 3 and len(face._kept) == 2


def test_upsample_finds_small_faces():
    small = cv2.resize(TRUTH, (64, 64), interpolation=cv2.INTER_AREA)
    assert math.isnan(calculate_lle(small, small))
    assert calculate_lle(small, small, upsample=2) == 0


def test_float_and_grey_images():
    assert calculate_lle(TRUTH + 0.4, TRUTH) == 0
    assert calculate_lle(TRUTH[..., 1], TRUTH[..., 1]) == 0


@pytest.fixture
def nothing_loaded():
    finding.load_detector.cache_clear()
    landmarks.load_model.cache_clear()
    face._kept.clear()


@pytest.mark.usefixtures('nothing_loaded')
def test_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, 'dlib', None)
    with pytest.raises(MetricUnavailableError, match=r'dlib .*hifacegan-plugin\[faces\]'):
        calculate_fed(TRUTH, TRUTH)


@pytest.mark.usefixtures('nothing_loaded')
def test_missing_models(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(MetricUnavailableError, match=r'shape_predictor_68.*hifacegan-plugin\[faces\]'):
        calculate_lle(TRUTH, TRUTH)
