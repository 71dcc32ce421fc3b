import importlib

import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY

import hifacegan_plugin
from hifacegan_plugin import metrics

IMAGE = np.random.default_rng(0).integers(0, 256, (176, 180, 3), dtype=np.uint8)


@pytest.mark.parametrize('name', ['calculate_msssim', 'calculate_lpips', 'calculate_fed', 'calculate_lle'])
def test_registered_with_the_host(name):
    assert METRIC_REGISTRY.get(name) is getattr(metrics, name)


def test_importing_twice():
    importlib.reload(hifacegan_plugin)


def test_the_host_calls_the_metric_with_its_options():
    opt = {'type': 'calculate_msssim', 'crop_border': 4, 'test_y_channel': True, 'better': 'higher'}
    assert calculate_metric({'img': IMAGE, 'img2': IMAGE}, opt) == 1


def test_unknown_options_are_errors():
    with pytest.raises(TypeError, match='nett'):
        calculate_metric({'img': IMAGE, 'img2': IMAGE}, {'type': 'calculate_lpips', 'nett': 'vgg'})
