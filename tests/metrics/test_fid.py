import math
import urllib.request
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from basicsr.metrics.fid import extract_inception_features, load_patched_inception_v3
from skimage import data
from torchmetrics.image.fid import FrechetInceptionDistance

from hifacegan_plugin.metrics.fid import _load_inception, frechet_distance, inception_features
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

FILE = 'pt_inception-2015-12-05-6726825d.pth'
TRUTH = np.ascontiguousarray(data.astronaut()[:180, :200, ::-1])


def features(count, length, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, length)) @ rng.normal(size=(length, length)) / 4 + rng.normal(size=length)


@pytest.mark.parametrize(('count', 'count2', 'length'), [(200, 300, 16), (100, 100, 64)])
def test_equals_scipys_matrix_square_root(count, count2, length):
    x, y = features(count, length, 0), features(count2, length, 1)
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(
        cov_x + cov_y - 2 * scipy.linalg.sqrtm(cov_x @ cov_y).real
    )
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


class Pooled(torch.nn.Module):
    """Features without weights: means over a 4x4 grid for each colour."""

    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images.double(), 4).flatten(1)


@pytest.mark.parametrize('count', [10, 80])  # fewer than the 48 features, so the covariance is singular, and more
def test_equals_torchmetrics(count):
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(low, 256, (count, 3, 16, 16), dtype=np.uint8)) for low in (0, 40)]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        metric = FrechetInceptionDistance(feature=Pooled(), input_img_size=(3, 16, 16)).set_dtype(torch.float64)
    metric.update(images[0], real=True)
    metric.update(images[1], real=False)
    ours = frechet_distance(*(Pooled()(p).numpy() for p in images))
    assert ours == pytest.approx(metric.compute().item(), rel=1e-5)


def test_properties():
    x, y = features(30, 100, 0), features(40, 100, 1)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9 * np.sum(x.var(0)))
    assert frechet_distance(x, x + 2.0) == pytest.approx(100 * 2.0**2)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x))
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(x[::-1], y))


def test_one_image_has_no_covariance():
    assert math.isnan(frechet_distance(features(1, 8, 0), features(5, 8, 0)))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty PyTorch Hub cache and an empty current folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(urllib.request, 'urlopen', lambda *args, **kwargs: pytest.fail('went to the network'))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'torch/hub/checkpoints'
    folder.mkdir(parents=True)
    _load_inception.cache_clear()
    yield folder
    _load_inception.cache_clear()


def test_features_equal_the_hosts(hub, inception_state, tmp_path):
    torch.save(inception_state, hub / FILE)
    before = torch.get_rng_state()
    ours = inception_features(TRUTH)
    assert torch.equal(torch.get_rng_state(), before)
    assert ours.shape == (2048,) and ours.dtype == np.float32

    host_folder = tmp_path / 'experiments/pretrained_models'
    host_folder.mkdir(parents=True)
    torch.save(inception_state, host_folder / FILE)
    rgb = torch.from_numpy(TRUTH[..., ::-1].copy()).permute(2, 0, 1)[None] / 255.0
    host = extract_inception_features([rgb * 2 - 1], load_patched_inception_v3('cpu'), device='cpu')[0].numpy()
    assert np.abs(host).max() > 0
    np.testing.assert_allclose(ours, host, rtol=1e-4, atol=1e-5 * np.abs(host).max())


def test_weights_in_the_hosts_folder(hub, inception_state, tmp_path):
    folder = tmp_path / 'experiments/pretrained_models'
    folder.mkdir(parents=True)
    torch.save(inception_state, folder / FILE)
    assert inception_features(TRUTH).shape == (2048,)


def test_missing_weights(hub):
    with pytest.raises(MetricUnavailableError) as error:
        inception_features(TRUTH)
    assert f'/{FILE} to {hub / FILE}' in str(error.value) and '\n' not in str(error.value)


def test_weights_of_another_network(hub):
    torch.save({'fc.weight': torch.zeros(1)}, hub / FILE)
    with pytest.raises(MetricUnavailableError, match=f'{FILE}.*download'):
        inception_features(TRUTH)
