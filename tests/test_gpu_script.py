"""Tests of the results of ``benchmarks/gpu.py``. To rehearse its parts, run ``gpu.py --quick --device cpu``."""

import json
import sys

import pytest
import torch
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / 'benchmarks'))

import gpu
from gpu_parts.results import Results
from gpu_parts.timing import FlopCounter, batch_of, timed
from gpu_parts.training import Setting

CPU = torch.device('cpu')


def fail():
    raise RuntimeError('no | memory\nat all')


def test_results_are_written_after_each_measurement(tmp_path):
    results = Results('train', tmp_path / 'new', 60, CPU)
    results.measure('Group', 'first', lambda: {'ms': 1.23456})
    (row,) = json.loads((tmp_path / 'new/gpu-train.json').read_text())['rows']
    assert (row['group'], row['name'], row['ms']) == ('Group', 'first', 1.23456)
    assert '| first | 1.235 |' in (tmp_path / 'new/gpu-train.md').read_text()
    assert results.status() == 0


def test_a_failure_is_recorded_and_does_not_stop_the_script(tmp_path):
    results = Results('train', tmp_path, 60, CPU)
    assert results.measure('Group', 'broken', fail)['error'] == 'RuntimeError: no | memory'
    assert results.measure('Group', 'next', lambda: {'ms': 2.0})['ms'] == 2
    rows = json.loads((tmp_path / 'gpu-train.json').read_text())['rows']
    assert 'in fail' in rows[0]['traceback'] and 'error' not in rows[1]
    assert 'no / memory |' in (tmp_path / 'gpu-train.md').read_text()  # `|` would start another column
    assert results.status() == 1


def test_nothing_is_measured_after_the_time_limit(tmp_path):
    results = Results('train', tmp_path, 0, CPU)
    assert results.measure('Group', 'late', fail)['error'] == 'not measured: no time left'
    assert results.status() == 1


@pytest.mark.parametrize(
    ('row', 'status'),
    [({'outcome': 'passed'}, 0), ({'outcome': 'skipped'}, 0), ({'outcome': 'failed'}, 1), ({'status': 1}, 1)],
)
def test_a_failed_test_makes_the_script_fail(row, status, tmp_path):
    results = Results('check', tmp_path, 60, CPU)
    results.add(group='Tests', name='test', **row)
    assert results.status() == status


def test_limits_add_up_to_eight_minutes():
    assert sum(limit + gpu.GRACE for limit in gpu.LIMITS.values()) <= 8 * 60


def test_operations_of_a_convolution_are_counted_forward_and_backward():
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    weight = torch.rand(4, 3, 3, 3, requires_grad=True)
    with FlopCounter() as counter:
        torch.nn.functional.conv2d(x, weight, padding=1).sum().backward()
    assert counter.total == 3 * (2 * 9 * 3 * 4 * 8 * 8)  # output, gradient of the input, gradient of the weights


@pytest.mark.parametrize('form', ['paper', 'fast'])
def test_rate_and_share_of_the_peak(form):
    setting = Setting(form, True, CPU)
    figures = setting.time_ours(peak=1e-3)
    assert figures['images/s'] == pytest.approx(1000 * setting.count / figures['ms'])
    assert figures['of_peak'] == pytest.approx(setting.flops / (figures['ms'] / 1000) / 1e9)


def test_times_are_per_call():
    calls = []
    figures = timed(lambda: calls.append(1), CPU, seconds=1e-9)
    assert len(calls) == 5 and figures['ms'] > 0  # two to warm up, three rounds of one


def test_batches_are_images():
    batch = batch_of(2, 32, CPU)
    for images in batch.values():
        assert images.shape == (2, 3, 32, 32) and 0 <= images.min() < images.max() <= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without a GPU')
def test_without_a_gpu_the_message_explains_rehearsals(monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['gpu.py'])
    assert gpu.main() == 2
    assert '--device cpu --quick' in capsys.readouterr().err
