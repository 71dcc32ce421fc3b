"""Tests of the statements in the catalogue of metrics."""

import inspect
import math
import warnings
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
import torchvision
from basicsr.utils.registry import METRIC_REGISTRY
from conftest import REPOSITORY
from skimage import data

from hifacegan_plugin import metrics
from hifacegan_plugin.metrics import fid
from hifacegan_plugin.metrics.building import build_metric
from hifacegan_plugin.metrics.catalogue import FID, METRICS, direction
from hifacegan_plugin.metrics.fid import _load_inception
from hifacegan_plugin.metrics.lpips import _load_network

TRUTH = np.ascontiguousarray(data.astronaut()[:256, 80:336, ::-1])  # a face, large enough for every metric
NOISE = np.random.default_rng(0).normal(size=TRUTH.shape)
WORSE_AND_WORSE = [np.clip(TRUTH + sigma * NOISE, 0, 255).astype(np.uint8) for sigma in (5, 15, 45)]
OPTIONS = {
    'calculate_psnr': {'crop_border': 0},
    'calculate_ssim': {'crop_border': 0},
    'calculate_niqe': {'crop_border': 0},
}  # the host's metrics need the option
NO_REFERENCE = [kind for kind, function in METRIC_REGISTRY if 'img2' not in inspect.signature(function).parameters]


@pytest.fixture(scope='module', autouse=True)
def weights(tmp_path_factory, inception_state):
    """Use random weights, because distances of random features are distances, too."""
    folder = tmp_path_factory.mktemp('torch')
    checkpoints = folder / 'hub/checkpoints'
    checkpoints.mkdir(parents=True)
    torch.manual_seed(0)
    alexnet = torchvision.models.alexnet(weights=None)
    torch.save(alexnet.state_dict(), checkpoints / 'alexnet-owt-7be5be79.pth')
    torch.save(inception_state, checkpoints / 'pt_inception-2015-12-05-6726825d.pth')
    for load in (_load_inception, _load_network):
        load.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TORCH_HOME', str(folder))
        yield
    for load in (_load_inception, _load_network):
        load.cache_clear()


def measure(kind: str, restored: np.ndarray, truth: np.ndarray) -> float:
    """Measure a pair of images; for the FID, four parts of each image form a set."""
    metric = build_metric('m', {'type': kind, **OPTIONS.get(kind, {})})
    parts = [np.s_[row : row + 128, column : column + 128] for row in (0, 128) for column in (0, 128)]
    samples = [metric.measure(restored[part], truth[part]) for part in (parts if kind == FID else [np.s_[:]])]
    return metric.reduce(samples)


@pytest.fixture(scope='module')
def figures():
    """Values of each metric for equal images and for increasingly worse ones."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return {kind: [measure(kind, p, TRUTH) for p in (TRUTH, *WORSE_AND_WORSE)] for kind in METRICS}


def test_every_metric_is_in_the_catalogue():
    assert set(metrics.__all__) < METRICS.keys()
    assert set(METRICS) - set(METRIC_REGISTRY.keys()) == {FID}


@pytest.mark.parametrize('kind', METRICS)
def test_direction(kind, figures):
    values = figures[kind]
    assert all(a != b for a, b in pairwise(values))
    assert values == sorted(values, reverse=METRICS[kind].better == 'higher')


@pytest.mark.parametrize('kind', [kind for kind in METRICS if kind not in NO_REFERENCE])
def test_value_of_equal_images(kind, figures):
    low, high = METRICS[kind].range
    best = high if METRICS[kind].better == 'higher' else low
    scale = max(map(abs, figures[kind][1:]))
    assert figures[kind][0] == pytest.approx(best, abs=1e-6 * scale)


@pytest.mark.parametrize('kind', METRICS)
def test_values_are_in_range(kind, figures):
    low, high = METRICS[kind].range
    inverted, noise = 255 - TRUTH, np.random.default_rng(1).integers(0, 256, TRUTH.shape, np.uint8)
    extremes = [measure(kind, p, TRUTH) for p in (inverted, noise)]
    values = [value for value in (*figures[kind], *extremes) if not math.isnan(value)]  # noise has no face
    margin = 1e-6 * max(value for value in values if math.isfinite(value))  # rounding errors of sums
    assert all(low - margin <= value <= high for value in values)


@pytest.mark.parametrize('kind', ['calculate_psnr', 'calculate_ssim', 'calculate_msssim'])
def test_worst_value_of_a_bounded_range(kind):
    assert METRICS[kind].better == 'higher'
    assert measure(kind, *negatives()) == pytest.approx(METRICS[kind].range[0], abs=1e-2)


def negatives() -> tuple[np.ndarray, np.ndarray]:
    """Return a chessboard and its negative, which have the largest possible difference; BGR ``(192, 192, 3)``."""
    board = np.where(np.indices((192, 192)).sum(0) % 2, 255, 0).astype(np.uint8)
    return tuple(np.repeat(image[..., None], 3, 2) for image in (board, 255 - board))


@pytest.mark.parametrize('kind', ['calculate_psnr', 'calculate_fed', 'calculate_lle'])
def test_meaning_of_a_missing_value(kind):
    equal = measure(kind, TRUTH, TRUTH)
    no_face = cv2.GaussianBlur(TRUTH, (0, 0), 60)
    if METRICS[kind].no_value == 'the images are equal':
        assert math.isinf(equal) and math.isfinite(measure(kind, no_face, TRUTH))
    else:
        assert 'face is not found' in METRICS[kind].no_value
        assert math.isfinite(equal) and math.isnan(measure(kind, no_face, TRUTH))


@pytest.mark.parametrize('kind', [*metrics.__all__, FID])
def test_docstrings_equal_the_catalogue(kind):
    text = inspect.getdoc(getattr(metrics, kind, fid.frechet_distance)).partition('\n\n')[0].replace('\n', ' ')
    facts = METRICS[kind]
    low, high = facts.range
    assert f'{facts.better} is better' in text
    assert (f'in [{low}, {high}]' if math.isfinite(high) else f'from {low}') in text
    assert facts.unit in text
    source = facts.source.replace('Wang et al.', 'Wang, Simoncelli and Bovik').split(', ')
    assert all(
        part.partition(' et al.')[0] in inspect.getdoc(getattr(metrics, kind, fid.frechet_distance)) for part in source
    )


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'type': 'calculate_lpips'}, 'lower'),
        ({'type': 'calculate_psnr', 'better': 'higher'}, 'higher'),
        ({'type': 'somebody_elses'}, 'higher'),
        ({'type': 'somebody_elses', 'better': 'lower'}, 'lower'),
    ],
)
def test_direction_of_a_metric_in_an_options_file(options, expected):
    assert direction(options) == expected


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'type': 'calculate_lpips', 'better': 'higher'}, 'calculate_lpips, lower is better'),
        ({'type': 'somebody_elses', 'better': 'Lower'}, "not 'Lower'"),
    ],
)
def test_invalid_directions_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        direction(options)


def test_documentation_equals_the_catalogue():
    lines = (REPOSITORY / 'docs/comparison.md').read_text().splitlines()
    for kind, facts in METRICS.items():
        low, high = facts.range
        span = f'[{low}, {high}]' if math.isfinite(high) else f'[{low}, ∞)'
        cells = (facts.name, f'`{kind}`', f'{span} {facts.unit}'.strip(), facts.better, facts.source, facts.needs)
        assert f'| {" | ".join(cells)} |'.replace('|  |', '| |') in lines
