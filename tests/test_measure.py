"""The meter: means over what could be measured, the set as a whole, and refusals before the first picture."""

import logging
import math

import numpy as np
import pytest
from basicsr.metrics import calculate_psnr

from hifacegan_plugin.metrics import measure
from hifacegan_plugin.metrics.measure import Meter
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

PSNR = {'type': 'calculate_psnr', 'crop_border': 2}


def pictures(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 256, (40, 48, 3), np.uint8)
    return np.clip(truth + random.normal(0, 9, truth.shape), 0, 255).astype(np.uint8), truth


def test_the_figure_is_the_mean_of_the_hosts_metric():
    meter = Meter({'psnr': PSNR}, with_truth=True)
    measurements = [meter.measure(str(seed), *pictures(seed)) for seed in range(3)]
    expected = np.mean([calculate_psnr(*pictures(seed), crop_border=2) for seed in range(3)])
    assert meter.summarise(measurements) == {'psnr': pytest.approx(expected)}
    assert meter.summarise(measurements) == meter.summarise(reversed(measurements))


def test_pictures_that_cannot_be_measured_are_counted_not_averaged(caplog):
    meter = Meter({'fed': {'type': 'calculate_fed', 'better': 'lower'}, 'psnr': PSNR}, with_truth=True)
    measurements = [meter.measure(str(seed), *pictures(seed)) for seed in range(2)]  # noise has no face
    measurements[1].values['fed'] = 0.5
    with caplog.at_level(logging.WARNING):
        assert meter.summarise(measurements)['fed'] == 0.5
    assert 'fed: 1 of 2 pictures not measured' in caplog.text
    measurements[1].values['fed'] = math.nan
    assert math.isnan(meter.summarise(measurements)['fed'])


def test_a_metric_without_its_weights_is_dropped_with_one_line(caplog, monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    meter = Meter({'lpips': {'type': 'calculate_lpips'}, 'psnr': PSNR}, with_truth=True)
    with caplog.at_level(logging.WARNING):
        measurements = [meter.measure(str(seed), *pictures(seed)) for seed in range(2)]
    assert len(caplog.records) == 1
    assert 'lpips is left out: ' in caplog.text
    assert 'alexnet' in caplog.text
    assert set(meter.summarise(measurements)) == {'psnr'}


def test_fid_takes_the_set_as_a_whole(monkeypatch):
    # The Inception weights are a download: the mean colour stands in for its features.
    monkeypatch.setattr(measure, 'inception_features', lambda picture: picture.mean((0, 1)))
    meter = Meter({'fid': {'type': 'calculate_fid', 'better': 'lower'}}, with_truth=True)
    same = [meter.measure(str(seed), pictures(seed)[1], pictures(seed)[1]) for seed in range(4)]
    assert meter.summarise(same)['fid'] == pytest.approx(0, abs=1e-6)
    brighter = [meter.measure(str(seed), pictures(seed)[1] // 2 + 100, pictures(seed)[1]) for seed in range(4)]
    assert meter.summarise(brighter)['fid'] > 100


@pytest.mark.parametrize(('metric', 'with_truth', 'message'), [
    ({'type': 'calculate_pnsr'}, True, "mine: there is no metric 'calculate_pnsr'. There are: .*calculate_psnr"),
    (PSNR, False, 'mine needs true pictures'),
    ({'type': 'calculate_msssim', 'scale': 3}, True, "mine: calculate_msssim: got an unexpected .*'scale'"),
])
def test_what_cannot_work_is_refused_at_once(metric, with_truth, message):
    with pytest.raises(ValueError, match=message):
        Meter({'mine': metric}, with_truth)


def test_a_metric_without_reference_needs_no_truth():
    meter = Meter({'niqe': {'type': 'calculate_niqe', 'crop_border': 0}}, with_truth=False)
    restored = np.tile(pictures(0)[0], (6, 6, 1))
    assert meter.measure('a', restored, None).values['niqe'] > 0


def test_an_unavailable_metric_is_no_error_of_the_others(monkeypatch):
    def unavailable(picture):
        raise MetricUnavailableError('no weights')

    monkeypatch.setattr(measure, 'inception_features', unavailable)
    meter = Meter({'fid': {'type': 'calculate_fid'}, 'psnr': PSNR}, with_truth=True)
    assert set(meter.summarise([meter.measure('a', *pictures(0))])) == {'psnr'}
