"""Tests of metrics of face and background, compared with NumPy, SciPy, scikit-image and the host."""

import logging
import math
from collections import OrderedDict

import numpy as np
import pytest
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.metrics.metric_util import to_y_channel
from scipy import ndimage
from skimage import data
from skimage.metrics import structural_similarity
from skimage.morphology import convex_hull_image
from test_msssim import scipy_msssim

from hifacegan_plugin.compare.tables import metric_header
from hifacegan_plugin.metrics import calculate_msssim, face, region
from hifacegan_plugin.metrics.building import build_metric, build_metrics
from hifacegan_plugin.metrics.metric import summarise
from hifacegan_plugin.metrics.region import MARGIN, REGION_METRICS, region_mask, region_psnr, region_ssim

TRUTH = np.ascontiguousarray(data.astronaut()[:256, 96:352, ::-1])
NO_FACE = np.ascontiguousarray(data.coffee()[:256, :256, ::-1])
NOISY = np.clip(TRUTH + np.random.default_rng(0).normal(0, 20, TRUTH.shape), 0, 255).astype(np.uint8)
MASK = np.zeros(TRUTH.shape[:2], bool)
MASK[40:201, 60:] = True
EVERYWHERE = np.ones_like(MASK)


def metric(kind, region, **options):
    needed = {} if kind == 'calculate_msssim' else {'crop_border': 0}
    return build_metric('m', {'type': kind, 'region': region, **needed, **options})


def test_masks_of_face_and_background():
    (found,) = face.measure_faces(TRUTH)
    points = np.zeros(TRUTH.shape[:2], bool)
    points[found.landmarks[:, 1], found.landmarks[:, 0]] = True
    eye_distance = math.dist(found.landmarks[36:42].mean(0), found.landmarks[42:48].mean(0))
    expected = ndimage.distance_transform_edt(~convex_hull_image(points)) <= MARGIN * eye_distance
    mask = region_mask(TRUTH, 'face')
    assert np.mean(mask != expected) < 0.002  # implementations differ in the pixels on the border of a hull
    assert (region_mask(TRUTH, 'background') == ~mask).all()
    assert (region_mask(TRUTH[..., 1], 'face') != mask).mean() < 0.02  # grey


def test_all_faces_are_in_the_mask():
    both = np.hstack([TRUTH, TRUTH[:, ::-1]])
    mask = region_mask(both, 'face')
    assert np.mean(mask[:, :256] != region_mask(TRUTH, 'face')) < 0.02
    assert np.mean(mask[:, 256:] != mask[:, :256][:, ::-1]) < 0.02


def test_psnr_of_a_region():
    error = (NOISY[MASK].astype(float) - TRUTH[MASK]) ** 2
    assert region_psnr(NOISY, TRUTH, MASK) == pytest.approx(10 * np.log10(255**2 / error.mean()))


@pytest.mark.parametrize('test_y_channel', [False, True])
def test_ssim_equals_the_mean_of_scikit_images_map(test_y_channel):
    images = [to_y_channel(image)[..., 0] if test_y_channel else image.astype(float) for image in (NOISY, TRUTH)]
    _, ssim_map = structural_similarity(
        *images,
        full=True,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=None if test_y_channel else 2,
    )
    expected = ssim_map[5:-5, 5:-5][MASK[5:-5, 5:-5]].mean()
    assert region_ssim(NOISY, TRUTH, MASK, test_y_channel=test_y_channel) == pytest.approx(expected, abs=1e-6)


def test_msssim_is_a_weighted_mean_at_each_scale():
    expected = np.mean([scipy_msssim(NOISY[..., c], TRUTH[..., c], MASK) for c in range(3)])
    assert calculate_msssim(NOISY, TRUTH, mask=MASK) == pytest.approx(expected, abs=1e-10)
    assert expected != pytest.approx(calculate_msssim(NOISY, TRUTH), abs=1e-3)


@pytest.mark.parametrize(
    'options', [{'crop_border': 0}, {'crop_border': 7}, {'crop_border': 3, 'test_y_channel': True}]
)
def test_values_of_the_whole_image_equal_the_hosts(options):
    assert region_psnr(NOISY, TRUTH, EVERYWHERE, **options) == pytest.approx(calculate_psnr(NOISY, TRUTH, **options))
    assert region_ssim(NOISY, TRUTH, EVERYWHERE, **options) == pytest.approx(calculate_ssim(NOISY, TRUTH, **options))


@pytest.mark.parametrize('kind', REGION_METRICS)
@pytest.mark.parametrize('damaged', ['face', 'background'])
def test_damage_affects_only_its_region(kind, damaged):
    other = {'face': 'background', 'background': 'face'}[damaged]
    restored = np.where(region_mask(TRUTH, damaged)[..., None], NOISY, TRUTH)
    here, there = (metric(kind, each).measure(restored, TRUTH) for each in (damaged, other))
    if kind == 'calculate_psnr':
        assert here == pytest.approx(region_psnr(NOISY, TRUTH, region_mask(TRUTH, damaged))) and math.isinf(there)
    else:  # windows at the border contain both sides
        assert here < there < 1


def test_images_without_a_face_are_reported(caplog):
    metrics = build_metrics(
        {
            'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'region': 'face'},
            'ssim': {'type': 'calculate_ssim', 'crop_border': 0, 'region': 'background'},
        }
    )
    for name, truth in (('a', TRUTH), ('b', NO_FACE), ('c', TRUTH)):
        for each in metrics:
            each.update(name, np.roll(truth, 1, 0) if name != 'c' else truth, truth)
    with caplog.at_level(logging.WARNING):
        figures = summarise(metrics)
    assert figures['psnr'] == metrics[0].values()['a']
    assert figures['ssim'] == pytest.approx((metrics[1].values()['a'] + 1) / 2)
    for name in figures:
        assert f'{name} has no value for 1 of 3 images: b (no face is found in the ground truth)' in caplog.text
    assert 'psnr has no value for 1 of 3 images: c (the images are equal)' in caplog.text


def test_faces_are_measured_once_per_ground_truth(monkeypatch):
    measured, measure = [], face._measure
    monkeypatch.setattr(face, '_kept', OrderedDict())
    monkeypatch.setattr(face, '_measure', lambda rgb, upsample: measured.append(rgb) or measure(rgb, upsample))
    for each in (metric(kind, part) for kind in REGION_METRICS for part in ('face', 'background')):
        each.measure(NOISY, TRUTH)
        each.measure(NOISY, NO_FACE)
    assert len(measured) == 2


def test_a_background_without_pixels_has_no_value(monkeypatch):
    monkeypatch.setattr(region, 'region_mask', lambda truth, part: np.full(truth.shape[:2], part == 'face'))
    psnr = metric('calculate_psnr', 'background')
    assert psnr.update('a', NOISY, TRUTH) is None
    assert psnr.describe_unmeasured() == ['m has no value for 1 of 1 images: a (the region is empty)']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'type': 'calculate_fed', 'region': 'face'},
            'calculate_fed always measures the face and takes no region',
        ),
        ({'type': 'calculate_lle', 'region': 'background'}, 'calculate_lle always measures the face'),
        ({'type': 'calculate_niqe', 'region': 'face'}, 'calculate_niqe always measures the whole image'),
        ({'type': 'calculate_lpips', 'region': 'face'}, 'calculate_lpips always measures the whole image'),
        ({'type': 'calculate_fid', 'region': 'face'}, 'calculate_fid always measures the whole image'),
        ({'type': 'calculate_psnr', 'crop_border': 0, 'region': 'nose'}, "region: give face or background, not 'nose'"),
        ({'type': 'calculate_psnr', 'region': 'face', 'corp_border': 0}, "calculate_psnr has no option 'corp_border'"),
        ({'type': 'calculate_psnr', 'crop_border': 0, 'regoin': 'face'}, "calculate_psnr has no option 'regoin'"),
        ({'type': 'calculate_pnsr', 'region': 'face'}, "there is no 'calculate_pnsr'"),
    ],
)
def test_metrics_without_regions_refuse_the_option(options, message):
    with pytest.raises(ValueError, match=f'val: metrics: mine: {message}'):
        build_metrics({'mine': options})


@pytest.mark.parametrize(
    ('name', 'header'),
    [('PSNR', 'PSNR (face) / dB ↑'), ('psnr_face', 'psnr_face / dB ↑'), ('Face PSNR', 'Face PSNR / dB ↑')],
)
def test_tables_name_the_region(name, header):
    options = {'type': 'calculate_psnr', 'crop_border': 0, 'region': 'face'}
    assert metric_header(build_metric(name, options)) == header


def test_a_mask_of_another_image_is_refused():
    with pytest.raises(ValueError, match='a mask of 256x256 does not fit an image of 100x256'):
        region_psnr(NOISY[:100], TRUTH[:100], MASK)
    thin = np.zeros_like(MASK)
    thin[:3] = True
    with pytest.raises(ValueError, match='no pixel of the region has a whole SSIM window'):
        region_ssim(NOISY, TRUTH, thin)
