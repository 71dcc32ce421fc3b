"""Reading weights of every kind, and refusing what is none."""

import json
import logging
import os
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.weights import (
    WeightsError,
    build_generator,
    generator_options,
    load_generator,
    read_weights,
    write_weights,
)


@pytest.fixture(scope='module')
def generator():
    torch.manual_seed(0)
    return CSRGenerator(num_feat=4, norm='rms', global_residual=True).eval()


@pytest.fixture
def checkpoint(generator, tmp_path):
    """A checkpoint as training writes it, whose `params` are all one less than its `params_ema`."""
    averaged = generator.state_dict()
    content = {
        'params': {key: value - 1 for key, value in averaged.items()},
        'params_ema': averaged,
        'network_g': generator_options(generator),
    }
    path = tmp_path / 'net_g_10.pth'
    torch.save(content, path)
    return path


@pytest.mark.parametrize(('param_key', 'offset'), [(None, 0), ('params_ema', 0), ('params', -1)])
def test_chooses_the_dictionary(checkpoint, generator, param_key, offset):
    state_dict, options = read_weights(checkpoint, param_key)
    for key, value in generator.state_dict().items():
        assert torch.equal(state_dict[key], value + offset)
    assert options == {
        'type': 'CSRGenerator', 'num_in_ch': 3, 'num_feat': 4, 'variant': 'csr', 'norm': 'rms', 'global_residual': True
    }  # fmt: skip


def test_absent_key_falls_back_as_in_the_host(tmp_path, caplog):
    path = tmp_path / 'a.pth'
    torch.save({'params': {'a': torch.ones(1)}}, path)
    with caplog.at_level(logging.INFO, 'basicsr.hifacegan_plugin'):
        assert read_weights(path, 'params_ema')[0] == {'a': torch.ones(1)}
    assert 'params_ema does not exist, using params' in caplog.text


def test_root_level_state_dict(tmp_path):
    path = tmp_path / 'published.pth'
    torch.save({'a': torch.ones(2)}, path)
    state_dict, options = read_weights(path, 'params')
    assert torch.equal(state_dict['a'], torch.ones(2))
    assert options == {}


def test_safetensors_keep_the_options(generator, tmp_path):
    path = tmp_path / 'a.safetensors'
    write_weights(path, generator.state_dict(), generator_options(generator))
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.safetensors']
    with safe_open(path, 'pt') as file:
        assert json.loads(file.metadata()['network_g'])['norm'] == 'rms'
    picture = torch.rand(1, 3, 64, 64)
    restored = load_generator(path)
    assert (restored.norm, restored.global_residual, restored.training) == ('rms', True, False)
    assert torch.equal(restored(picture), generator(picture))


@pytest.mark.parametrize('name', ['csr_ngf10_64', 'csr_ngf4_64x96', 'lip_spade_ngf4_64', 'spade_ngf4_64'])
def test_reference_weights_give_the_reference_output(reference_dir, tmp_path, name):
    tensors = load_file(reference_dir / f'{name}.safetensors')
    path = tmp_path / 'published.pth'
    prefix = 'state_dict.'
    torch.save({key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}, path)
    with torch.no_grad():
        output = load_generator(path)(tensors['input'])
    assert (output - tensors['output_per_sample']).abs().max() < 1e-4


def test_interrupted_write_leaves_the_old_file(generator, tmp_path, monkeypatch):
    path = tmp_path / 'a.safetensors'
    path.write_text('old')

    def fail(tensors, part, metadata):
        part.write_text('half')
        raise OSError('No space left on device')

    monkeypatch.setattr('hifacegan_plugin.weights.save_file', fail)
    with pytest.raises(WeightsError, match='No space left on device'):
        write_weights(path, generator.state_dict(), {})
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f'echo harm > {self.target}',)


@pytest.mark.parametrize('save', [torch.save, lambda thing, path: pickle.dump(thing, path.open('wb'), protocol=2)])
def test_never_runs_pickled_code(tmp_path, save):
    path, target = tmp_path / 'malicious.pth', tmp_path / 'harm'
    save({'params': {'a': Malice(target)}}, path)
    with pytest.raises(WeightsError, match=r'malicious\.pth: refused.*would call (posix|nt)\.system'):
        read_weights(path)
    assert not target.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert target.exists()  # the file is what it claims to be


def _truncated(path):
    torch.save({'a': torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def _truncated_safetensors(path):
    save_file({'a': torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ('name', 'write', 'message'),
    [
        ('zero.pth', lambda path: path.touch(), 'damaged or no weights file'),
        ('truncated.pth', _truncated, 'damaged or no weights file'),
        ('text.pth', lambda path: path.write_text('<html>404</html>'), 'damaged or no weights file'),
        ('noise.pth', lambda path: path.write_bytes(bytes(range(256)) * 9), 'damaged or no weights file'),
        ('zero.safetensors', lambda path: path.touch(), 'damaged or no safetensors'),
        ('truncated.safetensors', _truncated_safetensors, 'damaged or no safetensors'),
        ('text.safetensors', lambda path: path.write_text('<html>404</html>'), 'damaged or no safetensors'),
        ('10.state', lambda path: torch.save({'optimizers': [], 'iter': 10}, path), 'training state'),
        ('list.pth', lambda path: torch.save([torch.ones(1)], path), 'holds a list'),
        ('nan.pth', lambda path: torch.save({'a': torch.tensor([1, float('nan')])}, path), 'not finite, such as a'),
        ('folder.pth', lambda path: path.mkdir(), 'no such weights file'),
    ],
)
def test_refuses_what_is_no_weights_file(tmp_path, name, write, message):
    path = tmp_path / name
    write(path)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)


def test_names_a_foreign_network(tmp_path):
    path = tmp_path / 'other.safetensors'
    save_file({'conv_first.weight': torch.ones(4, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match=r'other\.safetensors: these are no weights of a HiFaceGAN generator'):
        load_generator(path)


def test_names_missing_weights(generator):
    state_dict = generator.state_dict()
    del state_dict['start.bias']
    with pytest.raises(WeightsError, match=r'start\.bias'):
        build_generator(state_dict, {})
