"""Tests of reading weights, and of refusing invalid files."""

import json
import logging
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.discriminator_arch import MultiscalePatchDiscriminator
from hifacegan_plugin.archs.published_layouts import without_markers
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import write_photograph
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
    """A checkpoint of a training in which `params` equals `params_ema` minus one."""
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
def test_param_key(checkpoint, generator, param_key, offset):
    state_dict, options = read_weights(checkpoint, param_key)
    for key, value in generator.state_dict().items():
        assert torch.equal(state_dict[key], value + offset)
    assert options == {
        'type': 'CSRGenerator', 'num_in_ch': 3, 'num_feat': 4, 'variant': 'csr', 'norm': 'rms', 'global_residual': True,
        'preset': 'paper',
    }  # fmt: skip


@pytest.mark.parametrize('others', [{}, {'params_ema': None}], ids=str)
def test_missing_key_falls_back_as_in_the_host(others, tmp_path, caplog):
    path = tmp_path / 'a.pth'
    torch.save({'params': {'a': torch.ones(1)}, **others}, path)
    with caplog.at_level(logging.INFO, 'basicsr.hifacegan_plugin'):
        assert read_weights(path, 'params_ema')[0] == {'a': torch.ones(1)}
    assert 'params_ema does not exist, using params' in caplog.text


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'params': {}, 'params_ema': {}}, "key 'params_em', but those under params_ema, params. Give params_ema or"),
        ({'state_dict': {}}, "key 'params_em', but those under state_dict. Give state_dict."),
        ({'a': torch.ones(1)}, "key 'params_em', but one set of weights, under no key. Leave the key out."),
    ],
)
def test_unknown_keys_are_refused(content, message, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(content, path)
    with pytest.raises(WeightsError, match=f'^{re.escape(str(path))}: has no weights under the {re.escape(message)}'):
        read_weights(path, 'params_em')


def test_root_level_state_dict(tmp_path):
    path = tmp_path / 'published.pth'
    torch.save({'a': torch.ones(2)}, path)
    state_dict, options = read_weights(path, 'params')
    assert torch.equal(state_dict['a'], torch.ones(2))
    assert options == {}


def test_safetensors_store_the_options(generator, tmp_path):
    path = tmp_path / 'a.safetensors'
    write_weights(path, generator.state_dict(), generator_options(generator))
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.safetensors']
    (tmp_path / 'b').touch()
    assert path.stat().st_mode == (tmp_path / 'b').stat().st_mode  # the same permissions as any new file
    with safe_open(path, 'pt') as file:
        assert json.loads(file.metadata()['network_g'])['norm'] == 'rms'
    image = torch.rand(1, 3, 64, 64)
    restored = load_generator(path)
    assert (restored.norm, restored.global_residual, restored.training) == ('rms', True, False)
    assert torch.equal(restored(image), generator(image))


@pytest.mark.parametrize(
    'name', ['csr_ngf10_64', 'csr_ngf4_64x96', 'csr_ngf4_rms_64', 'lip_spade_ngf4_64', 'spade_ngf4_64']
)
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

    def fail(part, content):
        part.write_text('half')
        raise OSError('No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', fail)
    with pytest.raises(WeightsError, match='No space left on device'):
        write_weights(path, generator.state_dict(), {})
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


class Malice:
    """An object that runs a command when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f'echo harm > {self.target}',)


@pytest.mark.parametrize('save', [torch.save, lambda thing, path: pickle.dump(thing, path.open('wb'), protocol=2)])
def test_pickled_code_is_not_executed(tmp_path, save):
    path, target = tmp_path / 'malicious.pth', tmp_path / 'harm'
    save({'params': {'a': Malice(target)}}, path)
    with pytest.raises(WeightsError, match=r'malicious\.pth: refused.*would call (posix|nt)\.system'):
        read_weights(path)
    assert not target.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert target.exists()  # the file does run a command when it is unpickled


def _cut(write, size=2000):
    """Return a function that writes the same file without its end."""

    def write_half(path):
        write(path)
        assert path.stat().st_size > size
        path.write_bytes(path.read_bytes()[:size])

    return write_half


def _pth(content):
    return lambda path: torch.save(content, path)


def _safetensors(content, metadata=None):
    return lambda path: save_file(content, path, metadata)


def _zip(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('photo.txt', 'no checkpoint')


def _with(value):
    """Return weights with one invalid tensor."""
    return {**CSRGenerator(num_feat=4).state_dict(), 'to_picture.bias': value}


FLAWED = torch.tensor([1, float('nan'), 2])
BAD_FILES = [
    ('folder.pth', lambda path: path.mkdir(), 'is a folder. Give a weights file in it'),
    ('zero.pth', lambda path: path.touch(), 'is empty'),
    ('zero.safetensors', lambda path: path.touch(), 'is empty'),
    ('cut.pth', _cut(_pth({'a': torch.zeros(1000)})), 'damaged or not a weights file'),
    ('cut_early.pth', _cut(_pth({'a': torch.zeros(1000)}), 40), 'damaged or not a weights file'),
    ('cut.safetensors', _cut(_safetensors({'a': torch.zeros(1000)})), 'damaged or not a safetensors'),
    ('cut_early.safetensors', _cut(_safetensors({'a': torch.zeros(1000)}), 40), 'damaged or not a safetensors'),
    ('text.pth', lambda path: path.write_text('no weights'), 'damaged or not a weights file'),
    ('noise.pth', lambda path: path.write_bytes(bytes(range(256)) * 9), 'damaged or not a weights file'),
    ('noise.safetensors', lambda path: path.write_bytes(bytes(range(256)) * 9), 'damaged or not a safetensors'),
    ('page.pth', lambda path: path.write_text('<!DOCTYPE html><html>404</html>'), 'is a web page'),
    ('page.safetensors', lambda path: path.write_text('<html>404</html>'), 'is a web page'),
    ('pointer.pth', lambda path: path.write_text('version https://git-lfs.github.com/spec/v1'), 'pointer of Git LFS'),
    ('zip.pth', _zip, 'damaged or not a weights file'),
    ('zip.safetensors', _zip, 'not a safetensors file.*rename it to zip.pth'),
    ('misnamed.pth', _safetensors({'a': torch.zeros(9)}), 'Rename it to misnamed.safetensors'),
    ('10.state', _pth({'optimizers': [], 'schedulers': [], 'iter': 10}), r'training state .*Give a net_g'),
    ('list.pth', _pth([torch.ones(1)]), 'holds a list'),
    ('number.pth', _pth({'params': {'a': 1}}), 'something other than weights'),
    ('unnamed.pth', _pth({'params': {0: torch.ones(1)}}), 'something other than weights'),
    ('options.pth', _pth({'params': {}, 'network_g': 'csr'}), 'network_g is a str instead of options'),
    ('options.safetensors', _safetensors({'a': FLAWED[:1]}, {'network_g': '['}), 'network_g is not JSON'),
    ('list.safetensors', _safetensors({'a': FLAWED[:1]}, {'network_g': '[]'}), 'network_g is a list instead of'),
    ('nothing.pth', _pth({'params': {}}), 'not weights of a HiFaceGAN generator'),
    ('foreign.pth', _pth({'conv_first.weight': torch.ones(4, 3, 3, 3)}), 'not weights of a HiFaceGAN generator'),
    ('net_d.pth', lambda path: torch.save({'params': MultiscalePatchDiscriminator(num_feat=4).state_dict()}, path),
     'not weights of a HiFaceGAN generator'),
    ('flat.pth', _pth({'to_picture.weight': torch.ones(4), 'blocks.0.spade_0.shared.weight': torch.ones(4)}),
     'not weights of a HiFaceGAN generator'),
    ('nan.pth', lambda path: torch.save(_with(FLAWED), path), r'not finite, such as to_picture\.bias'),
    ('nan.safetensors', lambda path: save_file(_with(FLAWED), path), r'not finite, such as to_picture\.bias'),
    ('whole_numbers.pth', lambda path: torch.save(_with(torch.ones(3, dtype=torch.int64)), path),
     r'1 of another type: to_picture\.bias torch\.int64 instead of torch\.float32'),
    ('misshapen.pth', lambda path: torch.save(_with(torch.ones(5)), path),
     r'1 of another shape: to_picture\.bias \(5,\) instead of \(3,\)'),
    ('bytes.safetensors', lambda path: save_file(_with(torch.ones(3).to(torch.float8_e5m2)), path),
     r'8-bit .*such as to_picture\.bias'),
    ('sparse.pth', lambda path: torch.save(_with(torch.ones(3).to_sparse()), path), 'such as to_picture.bias'),
    ('meta.pth', lambda path: torch.save(_with(torch.ones(3, device='meta')), path), 'such as to_picture.bias'),
    ('expanded.pth', lambda path: torch.save(_with(torch.ones(1).expand(3)), path), 'such as to_picture.bias'),
    ('huge.pth', lambda path: torch.save({  # the network would need terabytes
        'to_picture.weight': torch.ones(3, 32000, 3, 3), 'blocks.0.spade_0.shared.weight': torch.ones(1, 9, 3, 3),
    }, path), r'missing: suppression.head.weight'),
    ('coarse.pth', lambda path: torch.save({'params': _coarse_phase()}, path), 'returns images of 1/4 of the size'),
    ('empty.pth', _pth({
        'to_picture.weight': torch.ones(3, 0, 3, 3), 'blocks.0.spade_0.shared.weight': torch.ones(1, 3, 3, 3),
    }), 'num_feat: 0 is less than 1'),
]  # fmt: skip


def _coarse_phase():
    generator = CSRGenerator(num_feat=4)
    generator.add_coarse_outputs()
    generator.halvings = 2
    return generator.state_dict()


@pytest.mark.parametrize(('name', 'write', 'message'), BAD_FILES, ids=[name for name, *_ in BAD_FILES])
def test_invalid_files_are_refused(tmp_path, name, write, message):
    path = tmp_path / name
    write(path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_generator(path)
    assert str(caught.value).startswith(f'{path}: ')


@pytest.mark.parametrize(('name', 'write', 'message'), BAD_FILES[::6], ids=[name for name, *_ in BAD_FILES[::6]])
def test_commands_refuse_invalid_files(tmp_path, capsys, name, write, message):
    weights, image, output = tmp_path / name, tmp_path / 'in/a.png', tmp_path / 'out'
    write(weights)
    write_photograph(image, Photograph(np.zeros((64, 64, 3), np.uint8)))
    commands = {
        'restore': ['-i', image, '-o', output, '-w', weights],
        'stages': ['-i', image, '-o', output, '-w', weights],
        'export': ['-w', weights, '--to', 'onnx', '-o', output / 'a.onnx'],
        'convert': ['-w', weights, '-o', output / 'a.safetensors'],
    }
    for command, arguments in commands.items():
        assert main([command, *map(str, arguments)]) == 2
        assert re.match(f'hifacegan {command}: {re.escape(str(weights))}: .*{message}', capsys.readouterr().err, re.S)
        assert not list(output.glob('*'))


def test_a_missing_file(tmp_path):
    with pytest.raises(WeightsError, match=r'absent\.pth: there is no such weights file'):
        load_generator(tmp_path / 'absent.pth')


def test_an_unreadable_file(tmp_path, monkeypatch):
    """Simulated, because root can read all files."""
    path = tmp_path / 'a.pth'
    torch.save({}, path)

    def refuse(*_, **__):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr('pathlib.Path.open', refuse)
    with pytest.raises(WeightsError, match=r'a\.pth: cannot be read \(Permission denied\)'):
        load_generator(path)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_float32(generator, tmp_path, dtype):
    state_dict = {key: value.to(dtype) for key, value in generator.state_dict().items()}
    save_file(state_dict, tmp_path / 'a.safetensors')
    for key, value in load_generator(tmp_path / 'a.safetensors').state_dict().items():
        assert torch.equal(value, state_dict[key].float())


@pytest.mark.parametrize('options', [{}, {'norm': 'rms'}, {'global_residual': True}])
@pytest.mark.parametrize('wrap', [lambda weights: weights, lambda weights: {'params': weights}])
def test_markers_in_the_weights(lively_generator, tmp_path, options, wrap):
    """Also in files with only weights, which the host's models write."""
    generator = lively_generator(**options).eval()
    torch.save(wrap(generator.state_dict()), tmp_path / 'a.pth')
    restored = load_generator(tmp_path / 'a.pth')
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(restored(x), generator(x))
    unmarked = without_markers(generator.state_dict())
    assert (set(unmarked) == set(generator.state_dict())) == (options == {})
    assert set(unmarked) == set(CSRGenerator(num_feat=4).state_dict())


def test_old_files_of_the_fast_preset_can_be_loaded(lively_generator, tmp_path):
    """Earlier releases accepted the option, but it had no effect."""
    generator = lively_generator(preset='fast')
    described = {'type': 'CSRGenerator', 'num_feat': 4, 'preset': 'fast', 'global_residual': False}
    torch.save({'params': generator.state_dict(), 'network_g': described}, tmp_path / 'a.pth')
    assert load_generator(tmp_path / 'a.pth').global_residual


def test_weights_without_markers_use_the_given_options(lively_generator, tmp_path):
    """Files of earlier releases and of the reference implementation."""
    generator = lively_generator(norm='rms', global_residual=True).eval()
    unmarked = without_markers(generator.state_dict())
    torch.save({'params': unmarked, 'network_g': {'norm': 'rms', 'global_residual': True}}, tmp_path / 'a.pth')
    restored = load_generator(tmp_path / 'a.pth')
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(restored(x), generator(x))
    restored.load_state_dict(unmarked)  # no keys are missing


def test_loading_into_a_network_with_other_options_warns(lively_generator, caplog):
    theirs = lively_generator(norm='rms', global_residual=True)
    ours = CSRGenerator(num_feat=4, norm='rms')
    with caplog.at_level(logging.WARNING, 'basicsr.hifacegan_plugin'):
        ours.load_state_dict(theirs.state_dict())
    assert [record.getMessage().partition(', not')[0] for record in caplog.records] == [
        'These weights belong to a network with global_residual: True'
    ]
    for key, value in without_markers(theirs.state_dict()).items():
        assert torch.equal(ours.state_dict()[key], value)


def test_missing_weights_are_reported(generator):
    state_dict = generator.state_dict()
    del state_dict['start.bias']
    with pytest.raises(WeightsError, match=r'start\.bias'):
        build_generator(state_dict, {})
