"""Tests of differences between two restorers on the same images, and of their intervals."""

import json
import math
import re
from statistics import NormalDist

import numpy as np
import pytest
from test_compare import PSNR, degraded_set, rows_of, write_options

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.compare import intervals
from hifacegan_plugin.compare.intervals import RESAMPLES, paired_interval
from hifacegan_plugin.compare.results import Row, with_differences
from hifacegan_plugin.compare.tables import difference_table
from hifacegan_plugin.metrics.building import build_metric


def bca(sample, rng):
    """Return the bias-corrected and accelerated interval of the mean (Efron and Tibshirani, 1993, section 14.3)."""
    normal = NormalDist()
    means = np.sort(rng.choice(sample, (RESAMPLES, len(sample))).mean(axis=1))
    bias = normal.inv_cdf((np.sum(means < sample.mean()) + 0.5 * np.sum(means == sample.mean())) / len(means))
    without_one = (sample.sum() - sample) / (len(sample) - 1)
    deviations = without_one.mean() - without_one
    acceleration = np.sum(deviations**3) / (6 * np.sum(deviations**2) ** 1.5)
    bounds = []
    for share in (0.025, 0.975):
        z = bias + normal.inv_cdf(share)
        bounds.append(np.quantile(means, normal.cdf(bias + z / (1 - acceleration * z))))
    return tuple(bounds)


@pytest.mark.parametrize('images', [6, 40])
def test_interval_of_a_difference_equals_the_bca_bootstrap(images):
    rng = np.random.default_rng(3)
    sample = rng.exponential(size=images) - 0.5  # skewed, so that this interval differs from the percentile interval
    low, high = paired_interval(sample)
    assert (low, high) == pytest.approx(bca(sample, rng), abs=0.03 * np.std(sample))
    assert (low, high) == paired_interval(sample)
    assert paired_interval(-sample) == pytest.approx((-high, -low), abs=0.03 * np.std(sample))


def test_coverage_of_the_interval(monkeypatch):
    monkeypatch.setattr(intervals, 'RESAMPLES', 300)
    rng = np.random.default_rng(0)
    bounds = np.array([paired_interval(rng.normal(0.3, 1, 50)) for _ in range(150)])
    assert np.mean((bounds[:, 0] <= 0.3) & (bounds[:, 1] >= 0.3)) == pytest.approx(0.94, abs=0.04)


def test_interval_of_few_or_equal_differences():
    assert all(map(math.isnan, paired_interval([0.3])))
    assert paired_interval([0.5, 0.5]) == (0.5, 0.5)


def test_differences_use_images_with_both_values():
    rng = np.random.default_rng(0)
    images = {f'{i}': value for i, value in enumerate(rng.normal(28, 5, 20))}  # varies mostly by image
    values = {
        'reference': images,
        'better': {name: value + 0.3 + rng.normal(0, 0.1) for name, value in images.items() if name != '7'},
        'same': {name: value + (0.1 if int(name) % 2 else -0.1) for name, value in images.items()},
        'failed': {},
    }
    rows = [Row(label, 20, 20, {}, {'PSNR': of}) for label, of in values.items()]
    reference, better, same, failed = with_differences(rows, 'reference')
    assert reference is rows[0] and failed.differences == {}
    figure = better.differences['PSNR']
    expected = np.mean([value - images[name] for name, value in values['better'].items()])
    assert figure.mean == pytest.approx(expected) and figure.images == 19
    assert 0.2 < figure.low < figure.mean < figure.high < 0.4  # although the values have a deviation of 5
    assert same.differences['PSNR'].low < 0 < same.differences['PSNR'].high

    lines = difference_table([build_metric('PSNR', PSNR)], [reference, better, same, failed], 'reference').splitlines()
    assert [cell.strip() for cell in lines[0].split('|')[1:-1]] == ['difference from reference', 'PSNR / dB ↑']
    assert len(lines) == 5  # without the reference itself
    assert re.search(r'\*\*\+0\.3\d \[\+0\.2\d, \+0\.3\d\] \(19 of 20\)\*\*', lines[2])
    assert re.search(r' [+-]0\.00 \[-0\.0\d, \+0\.0\d\] ', lines[3]) and '**' not in lines[3]
    assert lines[4].split('|')[2].strip() == '–'


def test_differences_are_in_every_output(tmp_path, small_lmdb, capsys):
    file = write_options(
        tmp_path,
        {'set': {**degraded_set(small_lmdb), 'io_backend': {'type': 'lmdb'}}},
        {'input': {'type': 'input'}, 'denoised': {'type': 'fast_nl_means', 'h': 20, 'h_color': 20}},
        against='input',
    )
    out = tmp_path / 'out'
    assert main(['compare', '-opt', str(file), '-o', str(out)]) == 0
    rows, _ = rows_of(out)
    values = [rows[label]['values']['PSNR'] for label in ('input', 'denoised')]
    figure = rows['denoised']['differences']['PSNR']
    differences = [values[1][name] - values[0][name] for name in values[0]]
    assert figure['mean'] == pytest.approx(np.mean(differences)) and rows['input']['differences'] == {}
    assert (figure['low'], figure['high']) == paired_interval(differences)
    assert json.loads((out / 'comparison.json').read_text())['options']['against'] == 'input'
    cell = f'{figure["mean"]:+.2f} [{figure["low"]:+.2f}, {figure["high"]:+.2f}]'
    printed = capsys.readouterr().out
    assert cell in printed and cell in (out / 'comparison.md').read_text()
    page = (out / 'comparison.html').read_text()
    assert 'difference from input' in page and cell.replace(' [', ' <small>[') in page
