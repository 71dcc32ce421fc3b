import sys
import urllib.request

import numpy as np
import pytest
import torch

from hifacegan_plugin.metrics.lpips import _load_network, calculate_lpips
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError, load_hub_weights

URL = 'https://example.org/models/net-0123abcd.pth'
WEIGHTS = {'a': torch.arange(4.0)}


@pytest.fixture(autouse=True)
def checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(urllib.request, 'urlopen', lambda *args, **kwargs: pytest.fail('went to the network'))
    folder = tmp_path / 'hub/checkpoints'
    folder.mkdir(parents=True)
    return folder


class Touch:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('zipped', [True, False])
def test_weights_in_the_cache_of_torch_hub(checkpoints, zipped):
    torch.save(WEIGHTS, checkpoints / 'net-0123abcd.pth', _use_new_zipfile_serialization=zipped)
    assert torch.equal(load_hub_weights(URL)['a'], WEIGHTS['a'])


def test_other_folders_come_first(checkpoints, tmp_path):
    torch.save(WEIGHTS, checkpoints / 'net-0123abcd.pth')
    torch.save({'a': torch.zeros(1)}, tmp_path / 'other.pth')
    assert load_hub_weights(URL, tmp_path / 'other.pth')['a'] == 0


def test_missing_weights_are_reported_with_url_and_folder(checkpoints):
    with pytest.raises(MetricUnavailableError) as error:
        load_hub_weights(URL)
    assert str(error.value) == f'no weights net-0123abcd.pth: download {URL} to {checkpoints / "net-0123abcd.pth"}'


@pytest.mark.parametrize('content', [b'', b'<html>not found</html>'])
def test_damaged_weights_are_reported(checkpoints, content):
    (checkpoints / 'net-0123abcd.pth').write_bytes(content)
    with pytest.raises(MetricUnavailableError, match=r'damaged weights .*net-0123abcd\.pth: download'):
        load_hub_weights(URL)


@pytest.mark.parametrize('zipped', [True, False])
def test_truncated_weights_are_reported(checkpoints, zipped):
    path = checkpoints / 'net-0123abcd.pth'
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MetricUnavailableError, match='damaged'):
        load_hub_weights(URL)


@pytest.mark.parametrize('zipped', [True, False])
def test_pickled_code_is_not_executed(checkpoints, tmp_path, zipped):
    torch.save({'a': Touch(tmp_path / 'run')}, checkpoints / 'net-0123abcd.pth', _use_new_zipfile_serialization=zipped)
    with pytest.raises(MetricUnavailableError):
        load_hub_weights(URL)
    assert not (tmp_path / 'run').exists()


def test_package(monkeypatch):
    _load_network.cache_clear()
    monkeypatch.setitem(sys.modules, 'lpips', None)
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(MetricUnavailableError, match=r'lpips .*pip install "hifacegan-plugin\[metrics\]"'):
        calculate_lpips(image, image, net='vgg')
