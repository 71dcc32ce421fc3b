import sys
import urllib.request

import cv2
import lpips
import numpy as np
import pytest
import torch
import torchvision
from skimage import data

from hifacegan_plugin.metrics import calculate_lpips
from hifacegan_plugin.metrics.lpips import _load_network
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

RGB = data.astronaut()[:96, 200:296]
TRUTH = np.ascontiguousarray(RGB[..., ::-1])
RESTORED = cv2.GaussianBlur(TRUTH, (0, 0), 2)
FILES = {'alex': 'alexnet-owt-7be5be79.pth', 'vgg': 'vgg16-397923af.pth'}


@pytest.fixture(autouse=True)
def checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(urllib.request, 'urlopen', lambda *args, **kwargs: pytest.fail('went to the network'))
    folder = tmp_path / 'hub/checkpoints'
    folder.mkdir(parents=True)
    _load_network.cache_clear()
    yield folder
    _load_network.cache_clear()


@pytest.fixture(scope='module', params=['alex', 'vgg'])
def backbone(request):
    """A name, and torchvision's network of this name with random weights."""
    torch.manual_seed(0)
    network = {'alex': torchvision.models.alexnet, 'vgg': torchvision.models.vgg16}[request.param](weights=None)
    return request.param, network


def save(backbone, checkpoints):
    net, network = backbone
    state = {key: value for key, value in network.state_dict().items() if key.startswith('features')}
    torch.save(state, checkpoints / FILES[net])


def test_equals_the_lpips_package(backbone, checkpoints, monkeypatch):
    net, network = backbone
    save(backbone, checkpoints)
    monkeypatch.setattr(torchvision.models, {'alex': 'alexnet', 'vgg': 'vgg16'}[net], lambda **kwargs: network)
    library = lpips.LPIPS(net=net, verbose=False)
    restored = np.ascontiguousarray(RESTORED[..., ::-1])
    with torch.no_grad():
        expected = library(lpips.im2tensor(restored), lpips.im2tensor(RGB)).item()
    assert expected > 1e-4
    assert calculate_lpips(RESTORED, TRUTH, net=net) == pytest.approx(expected, rel=1e-5)


def test_equal_images(backbone, checkpoints):
    save(backbone, checkpoints)
    assert calculate_lpips(TRUTH, TRUTH, net=backbone[0]) == 0


def test_smallest_image(backbone, checkpoints):
    save(backbone, checkpoints)
    net, size = backbone[0], {'alex': 31, 'vgg': 16}[backbone[0]]
    assert calculate_lpips(RESTORED[:size, :size], TRUTH[:size, :size], net=net) > 0
    with pytest.raises(ValueError, match=f'at least {size} pixels .* got {size - 1}x40'):
        calculate_lpips(RESTORED[: size - 1, :40], TRUTH[: size - 1, :40], net=net)


def test_loading_does_not_change_the_random_state(backbone, checkpoints):
    save(backbone, checkpoints)
    before = torch.get_rng_state()
    calculate_lpips(RESTORED, TRUTH, net=backbone[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('net', ['alex', 'vgg'])
def test_missing_weights(checkpoints, net):
    with pytest.raises(MetricUnavailableError) as error:
        calculate_lpips(RESTORED, TRUTH, net=net)
    file = FILES[net]
    assert f'download https://download.pytorch.org/models/{file} to {checkpoints / file}' in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'state', [{}, {f'features.{i}.{kind}': torch.zeros(1) for i in range(40) for kind in ('weight', 'bias')}]
)
def test_weights_of_another_network(checkpoints, state):
    torch.save(state, checkpoints / FILES['alex'])
    with pytest.raises(MetricUnavailableError, match=r'alexnet-owt.*download'):
        calculate_lpips(RESTORED, TRUTH)


def test_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, 'lpips', None)
    with pytest.raises(MetricUnavailableError, match=r'hifacegan-plugin\[metrics\]'):
        calculate_lpips(RESTORED, TRUTH)


def test_unknown_net():
    with pytest.raises(ValueError, match="alex, vgg, got 'squeeze'"):
        calculate_lpips(RESTORED, TRUTH, net='squeeze')
