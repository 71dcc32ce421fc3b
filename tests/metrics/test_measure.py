"""The meter: means over what could be measured, the set as a whole, what fails, and what is refused at once."""

import logging
import math

import numpy as np
import pytest
from basicsr.metrics import calculate_psnr
from basicsr.utils.registry import METRIC_REGISTRY

from hifacegan_plugin.metrics import measure
from hifacegan_plugin.metrics.measure import Meter
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

PSNR = {'type': 'calculate_psnr', 'crop_border': 2}


def pictures(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 256, (40, 48, 3), np.uint8)
    return np.clip(truth + random.normal(0, 9, truth.shape), 0, 255).astype(np.uint8), truth


def test_the_figure_is_the_mean_of_the_hosts_metric():
    meter = Meter({'psnr': PSNR})
    measurements = [meter.measure(str(seed), *pictures(seed)) for seed in range(3)]
    expected = np.mean([calculate_psnr(*pictures(seed), crop_border=2) for seed in range(3)])
    assert meter.summarise(measurements) == {'psnr': pytest.approx(expected)}
    assert meter.summarise(measurements) == meter.summarise(reversed(measurements))


def test_pictures_that_cannot_be_measured_are_counted_not_averaged(caplog):
    meter = Meter({'fed': {'type': 'calculate_fed'}, 'psnr': PSNR})
    measurements = [meter.measure(str(seed), *pictures(seed)) for seed in range(2)]  # noise has no face
    measurements[1].values['fed'] = 0.5
    with caplog.at_level(logging.WARNING):
        assert meter.summarise(measurements)['fed'] == 0.5
    assert 'fed gives no figure for 1 of 2 pictures: 0 (the face is not found' in caplog.text
    measurements[1].values['fed'] = math.nan
    assert math.isnan(meter.summarise(measurements)['fed'])


def test_a_metric_without_its_weights_is_dropped_with_one_line(caplog, monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    meter = Meter({'lpips': {'type': 'calculate_lpips'}, 'psnr': PSNR})
    with caplog.at_level(logging.WARNING):
        measurements = [meter.measure(str(seed), *pictures(seed)) for seed in range(2)]
    assert len(caplog.records) == 1
    assert 'lpips is left out: ' in caplog.text
    assert 'alexnet' in caplog.text
    assert set(meter.summarise(measurements)) == {'psnr'}


def test_fid_takes_the_set_as_a_whole(monkeypatch):
    # The Inception weights are a download: the mean colour stands in for its features.
    monkeypatch.setattr(measure, 'inception_features', lambda img: img.mean((0, 1)))
    meter = Meter({'fid': {'type': 'calculate_fid'}})
    same = [meter.measure(str(seed), pictures(seed)[1], pictures(seed)[1]) for seed in range(4)]
    assert meter.summarise(same)['fid'] == pytest.approx(0, abs=1e-6)
    brighter = [meter.measure(str(seed), pictures(seed)[1] // 2 + 100, pictures(seed)[1]) for seed in range(4)]
    assert meter.summarise(brighter)['fid'] > 100


@pytest.mark.parametrize(('metric', 'message'), [
    ({'type': 'calculate_pnsr'}, "mine: there is no metric 'calculate_pnsr'. There are: .*calculate_psnr"),
    ({'better': 'lower'}, 'mine: there is no metric None'),
    ({'type': 'calculate_msssim', 'scale': 3}, "mine: calculate_msssim: got an unexpected .*'scale'"),
    ({'type': 'calculate_fid', 'scale': 3}, "mine: calculate_fid: got an unexpected .*'scale'"),
    ({'type': 'calculate_psnr'}, "mine: calculate_psnr: missing .*'crop_border'"),
    ({'type': 'calculate_niqe'}, "mine: calculate_niqe: missing .*'crop_border'"),
    ({'type': 'calculate_lpips', 'better': 'higher'}, 'mine: calculate_lpips: better: higher is wrong'),
])
def test_what_cannot_work_is_refused_at_once(metric, message):
    with pytest.raises(ValueError, match=message):
        Meter({'mine': metric})


@pytest.mark.parametrize('metric', [PSNR, {'type': 'calculate_fid'}])
def test_a_metric_that_needs_the_truth_says_so(metric):
    with pytest.raises(ValueError, match='mine needs true pictures'):
        Meter({'mine': metric}).measure('a', pictures(0)[0], None)


def test_a_metric_without_reference_needs_no_truth():
    meter = Meter({'niqe': {'type': 'calculate_niqe', 'crop_border': 0}})
    restored = np.tile(pictures(0)[0], (6, 6, 1))
    assert meter.measure('a', restored, None).values['niqe'] > 0


@pytest.fixture
def fragile(monkeypatch):
    """A metric in the host's registry that takes no further options, and pictures of an even height only."""

    def calculate_fragile(img, img2):
        if img.shape[0] % 2:
            raise RuntimeError('odd')
        return 1

    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_fragile', calculate_fragile)
    return {'type': 'calculate_fragile', 'better': 'lower'}


def test_a_metric_that_fails_on_a_picture_leaves_the_rest_alone(fragile, monkeypatch, caplog):
    def features(img):
        if img.shape[0] % 2:
            raise RuntimeError('no features')
        return img.mean((0, 1))

    monkeypatch.setattr(measure, 'inception_features', features)
    meter = Meter({'fragile': fragile, 'psnr': PSNR, 'fid': {'type': 'calculate_fid'}})
    every = {name: pictures(seed) for seed, name in enumerate('abcd')}
    every['b'] = tuple(picture[1:] for picture in every['b'])
    every['d'] = (every['d'][0][:, 1:], every['d'][1])  # the network made it too small
    measured = {name: meter.measure(name, *pair) for name, pair in every.items()}
    with caplog.at_level(logging.WARNING):
        summary = meter.summarise(measured.values())
    assert summary['fragile'] == 1
    assert summary['psnr'] == pytest.approx(np.mean([calculate_psnr(*every[name], 2) for name in 'abc']))
    assert summary['fid'] == pytest.approx(measure.distance_of_set([measured[name] for name in 'acd']))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == 'fragile gives no figure for 1 of 4 pictures: b (odd)'
    assert lines[1].startswith('psnr gives no figure for 1 of 4 pictures: d (Image shapes are different')
    assert lines[2].startswith('fid gives no figure for 1 of 4 pictures: b (no features)')
    assert [meter.is_complete(measurement) for measurement in measured.values()] == [True, False, True, False]


def test_equal_pictures_have_no_finite_psnr(caplog):
    meter = Meter({'psnr': PSNR})
    measurements = [meter.measure(str(seed), *pictures(seed)) for seed in range(2)]
    measurements.append(meter.measure('2', pictures(2)[1], pictures(2)[1]))
    with caplog.at_level(logging.WARNING):
        assert meter.summarise(measurements) == meter.summarise(measurements[:2])
    assert 'psnr gives no figure for 1 of 3 pictures: 2 (the pictures are equal)' in caplog.text


def test_a_line_names_some_pictures_of_many():
    meter = Meter({'fed': {'type': 'calculate_fed'}})
    measurements = [measure.Measurement(str(i), {'fed': math.nan}, {}) for i in range(3)]
    (line,) = meter.describe_unmeasured(measurements, named_at_most=2)
    assert '3 of 3 pictures: 0, 1, ... (the face is not found' in line
    assert '3 of 3 pictures: 0, 1, 2 (' in meter.describe_unmeasured(measurements)[0]


def test_an_unavailable_metric_is_no_error_of_the_others(monkeypatch):
    def unavailable(img):
        raise MetricUnavailableError('no weights')

    monkeypatch.setattr(measure, 'inception_features', unavailable)
    meter = Meter({'fid': {'type': 'calculate_fid'}, 'psnr': PSNR})
    assert set(meter.summarise([meter.measure('a', *pictures(0))])) == {'psnr'}
