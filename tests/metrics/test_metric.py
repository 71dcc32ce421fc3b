"""Tests of metric objects: means, sets, failures, invalid options."""

import json
import logging
import math
import pickle

import numpy as np
import pytest
from basicsr.metrics import calculate_psnr
from basicsr.utils.registry import METRIC_REGISTRY
from skimage import data

from hifacegan_plugin.metrics import building
from hifacegan_plugin.metrics.building import build_metric, build_metrics
from hifacegan_plugin.metrics.fid import frechet_distance
from hifacegan_plugin.metrics.metric import State, summarise
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

PSNR = {'type': 'calculate_psnr', 'crop_border': 2}
FID = {'type': 'calculate_fid'}
FED = {'type': 'calculate_fed'}


def images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 256, (40, 48, 3), np.uint8)
    return np.clip(truth + random.normal(0, 9, truth.shape), 0, 255).astype(np.uint8), truth


def test_the_value_is_the_mean_of_the_hosts_metric():
    metric = build_metric('psnr', PSNR)
    for seed in range(3):
        metric.update(str(seed), *images(seed))
    values = [calculate_psnr(*images(seed), crop_border=2) for seed in range(3)]
    assert metric.compute() == pytest.approx(np.mean(values))
    assert metric.values() == pytest.approx(dict(zip('012', values)))
    assert (metric.name, metric.better, metric.unit, metric.count) == ('psnr', 'higher', 'dB', 3)
    assert metric.format(28.005) == '28.00'
    metric.reset()
    assert math.isnan(metric.compute()) and metric.count == 0


@pytest.mark.parametrize('options', [PSNR, FID])
def test_the_value_does_not_depend_on_the_number_of_processes(options, monkeypatch):
    monkeypatch.setattr(building, 'inception_features', lambda img: img.mean((0, 1)) / 3)
    alone, *shares = (build_metric('m', options) for _ in range(4))
    for seed in range(7):
        alone.update(str(seed), *images(seed))
        shares[seed % 3].update(str(seed), *images(seed))
    states = pickle.loads(pickle.dumps([share.state for share in shares]))
    shares[0].merge(states)
    assert shares[0].compute() == alone.compute()
    assert shares[0].count == alone.count == 7


@pytest.mark.parametrize('options', [PSNR, FID])
def test_earlier_values_can_be_added(options, monkeypatch):
    monkeypatch.setattr(building, 'inception_features', lambda img: img.mean((0, 1), np.float32) / 3)
    metric, again = build_metric('m', options), build_metric('m', options)
    for seed in range(4):
        sample = metric.update(str(seed), *images(seed))
        again.add(str(seed), json.loads(json.dumps(sample.tolist())))
    assert again.compute() == metric.compute() != 0


def test_images_without_a_value_are_reported_and_not_averaged(caplog):
    fed = build_metric('fed', FED)
    fed.update('0', *images(0))  # noise has no face
    fed.add('1', 0.5)
    with caplog.at_level(logging.WARNING):
        assert summarise([fed]) == {'fed': 0.5}
    assert 'fed has no value for 1 of 2 images: 0 (the face is not found' in caplog.text
    fed.reset()
    fed.add('1', math.nan)
    assert math.isnan(summarise([fed])['fed']) and fed.values() == {}


def test_a_metric_without_weights_is_skipped_with_one_warning(caplog, monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    metrics = build_metrics({'lpips': {'type': 'calculate_lpips'}, 'psnr': PSNR})
    for seed in range(2):
        for metric in metrics:
            metric.update(str(seed), *images(seed))
    with caplog.at_level(logging.WARNING):
        assert set(summarise(metrics)) == {'psnr'}
    assert len(caplog.records) == 1
    assert 'lpips is left out: ' in caplog.text
    assert 'alexnet' in caplog.text
    assert 'alexnet' in metrics[0].unavailable


def test_images_of_a_process_without_weights_are_reported():
    metric = build_metric('fed', FED)
    metric.add('a', 0.5)
    elsewhere = build_metric('fed', FED)
    elsewhere.unavailable = 'no dlib'
    elsewhere.update('b', *images(0))
    metric.merge([metric.state, elsewhere.state])
    assert metric.compute() == 0.5
    assert metric.describe_unmeasured() == [
        'fed has no value for 1 of 2 images: b (the process that restored it lacks a package or weights)'
    ]


def test_fid_of_a_set(monkeypatch):
    # The mean colour replaces Inception features, because its weights would have to be downloaded.
    monkeypatch.setattr(building, 'inception_features', lambda img: img.mean((0, 1)))
    fid = build_metric('fid', FID)
    for seed in range(4):
        fid.update(str(seed), images(seed)[1], images(seed)[1])
    assert fid.compute() == pytest.approx(0, abs=1e-6)
    fid.reset()
    for seed in range(4):
        assert math.isnan(fid.compute()) == (seed < 2)
        fid.update(str(seed), images(seed)[1] // 2 + 100, images(seed)[1])
    assert fid.compute() > 100
    assert fid.values() == {}  # no values of single images


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'type': 'calculate_pnsr'}, "mine: there is no 'calculate_pnsr'. Did you mean 'calculate_psnr'"),
        ({'type': ['calculate_psnr']}, r"mine: there is no \['calculate_psnr'\]"),
        ({'better': 'lower'}, 'mine: type is missing'),
        (None, 'mine: type is missing'),
        (
            {'type': 'calculate_msssim', 'scale': 3},
            "mine: calculate_msssim has no option 'scale'. Did you mean 'scales'",
        ),
        ({'type': 'calculate_msssim', 'scales': 'all'}, "mine: scales: give a whole number, not 'all'"),
        ({'type': 'calculate_fid', 'scale': 3}, "mine: calculate_fid has no option 'scale'"),
        ({'type': 'calculate_psnr'}, 'mine: calculate_psnr needs crop_border'),
        ({'type': 'calculate_niqe'}, 'mine: calculate_niqe needs crop_border'),
        (
            {'type': 'calculate_lpips', 'better': 'higher'},
            'mine: better: higher is wrong: for calculate_lpips, lower is',
        ),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f'val: metrics: {message}'):
        build_metrics({'mine': options})


@pytest.mark.parametrize('options', [PSNR, FID])
def test_a_metric_that_needs_the_ground_truth_says_so(options):
    with pytest.raises(ValueError, match='mine needs the ground truth'):
        build_metric('mine', options).update('a', images(0)[0], None)


@pytest.mark.parametrize('truth', [None, images(1)[1]])
def test_a_metric_without_reference_needs_no_ground_truth(truth):
    niqe = build_metric('niqe', {'type': 'calculate_niqe', 'crop_border': 0})
    assert not niqe.needs_ground_truth
    assert niqe.update('a', np.tile(images(0)[0], (6, 6, 1)), truth) > 0


@pytest.fixture
def fragile(monkeypatch):
    """A metric in the host's registry without options that accepts only images of even height."""

    def calculate_fragile(img):
        if img.shape[0] % 2:
            raise RuntimeError('odd')
        return 1

    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_fragile', calculate_fragile)
    return {'type': 'calculate_fragile', 'better': 'lower'}


def test_a_metric_may_fail_on_some_images(fragile, monkeypatch, caplog):
    def features(img):
        if img.shape[0] % 2:
            raise RuntimeError('no features')
        return img.mean((0, 1))

    monkeypatch.setattr(building, 'inception_features', features)
    metrics = build_metrics({'fragile': fragile, 'psnr': PSNR, 'fid': FID})
    assert [metric.better for metric in metrics] == ['lower', 'higher', 'lower']
    every = {name: images(seed) for seed, name in enumerate('abcd')}
    every['b'] = tuple(image[1:] for image in every['b'])
    every['d'] = (every['d'][0][:, 1:], every['d'][1])  # too small
    samples = {name: [metric.update(name, *pair) for metric in metrics] for name, pair in every.items()}
    assert [[sample is None for sample in samples[name]] for name in 'abcd'] == [
        [False, False, False],
        [True, False, True],
        [False, False, False],
        [False, True, False],
    ]
    with caplog.at_level(logging.WARNING):
        summary = summarise(metrics)
    assert summary['fragile'] == 1
    assert summary['psnr'] == pytest.approx(np.mean([calculate_psnr(*every[name], 2) for name in 'abc']))
    of_sides = (np.array([features(every[name][side]) for name in 'acd']) for side in (0, 1))
    assert summary['fid'] == pytest.approx(frechet_distance(*of_sides))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == 'fragile has no value for 1 of 4 images: b (odd)'
    assert lines[1].startswith('psnr has no value for 1 of 4 images: d (Image shapes are different')
    assert lines[2].startswith('fid has no value for 1 of 4 images: b (no features)')


@pytest.mark.parametrize(
    ('kind', 'sides'), [('calculate_psnr', (1, 1)), ('calculate_ssim', (11, 11)), ('calculate_niqe', (96, 192))]
)
@pytest.mark.filterwarnings('error')  # such as for the mean of an empty list
def test_images_that_the_hosts_metric_cannot_measure_are_reported(kind, sides):
    photograph = data.astronaut()
    for height, width in (sides, sides[::-1]):
        metric = build_metric('m', {'type': kind, 'crop_border': 3})
        truth = photograph[: height + 6, : width + 6]
        metric.update('fits', truth // 2, truth)
        for smaller in (truth[:-1], truth[:, :-1]):
            metric.update('small', smaller // 2, smaller)
        assert list(metric.values()) == ['fits']
        assert {reason.partition(', got')[0] for _, reason in metric.state.failures} == {
            f'needs at least {sides[0]}x{sides[1]} pixels'
        }


def test_equal_images_have_no_finite_psnr(caplog):
    metric = build_metric('psnr', PSNR)
    for seed in range(2):
        metric.update(str(seed), *images(seed))
    before = metric.compute()
    metric.update('2', images(2)[1], images(2)[1])
    with caplog.at_level(logging.WARNING):
        assert summarise([metric]) == {'psnr': before}
    assert 'psnr has no value for 1 of 3 images: 2 (the images are equal)' in caplog.text


def test_long_lists_of_images_are_shortened():
    fed = build_metric('fed', FED)
    fed.merge([State([(str(i), np.array(math.nan)) for i in range(3)])])
    (line,) = fed.describe_unmeasured(named_at_most=2)
    assert '3 of 3 images: 0, 1, ... (the face is not found' in line
    assert '3 of 3 images: 0, 1, 2 (' in fed.describe_unmeasured()[0]


def test_an_unavailable_metric_does_not_affect_others(monkeypatch):
    def unavailable(img):
        raise MetricUnavailableError('no weights')

    monkeypatch.setattr(building, 'inception_features', unavailable)
    metrics = build_metrics({'fid': FID, 'psnr': PSNR})
    for metric in metrics:
        metric.update('a', *images(0))
    assert set(summarise(metrics)) == {'psnr'}
