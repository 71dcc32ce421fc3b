"""Tests of engines and exported files, compared with torch."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
import torch.nn.functional as F

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr.paper import VARIANTS
from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.restore.engines import exported, starting
from hifacegan_plugin.restore.engines.devices import EngineError
from hifacegan_plugin.restore.engines.exported import EXPORTED, export
from hifacegan_plugin.restore.engines.footprint import bytes_per_pixel
from hifacegan_plugin.restore.engines.starting import choose_engine, open_engine
from hifacegan_plugin.restore.restorer import Restorer
from hifacegan_plugin.weights import generator_options, load_generator, read_weights, write_weights


@torch.no_grad()
def make_generator(**options) -> CSRNetwork:
    torch.manual_seed(0)
    generator = CSRGenerator(num_feat=4, **options).eval()
    for parameter in generator.parameters():
        if parameter.dim() == 4:
            torch.nn.init.xavier_normal_(parameter)
    outputs = []
    hook = generator.to_picture.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    generator(torch.rand(1, 3, 64, 64))
    hook.remove()
    generator.to_picture.weight.mul_(0.25 / outputs[0].std())
    return generator


@pytest.fixture(scope='module')
def generator():
    return make_generator()


@pytest.mark.parametrize(
    ('name', 'dtype', 'tolerance'),
    [('torch', 'float32', 1e-4), ('onnx', 'float32', 1e-4), ('openvino', 'float32', 1e-3)],
)
def test_engines_equal_torch(generator, name, dtype, tolerance):
    engine = open_engine(name, generator, dtype)
    for shape in ((1, 3, 64, 64), (2, 3, 101, 70)):
        batch = torch.rand(shape)
        with torch.no_grad():
            expected = generator(batch).numpy()
        output = engine(batch.numpy())
        assert output.dtype == np.float32
        assert np.abs(output - expected).max() < tolerance


@pytest.mark.parametrize('options', [{}, {'preset': 'fast'}], ids=['paper', 'fast'])
@pytest.mark.parametrize('device', ['cpu', 'cuda:0'])
def test_a_derived_network_runs_as_its_class_says(options, device):
    generator = make_generator(**options)
    derived = deepcopy(generator)
    derived.__class__ = type('Brighter', (type(generator),), {'forward': lambda self, x: generator(x) + 0.1})
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = (generator(image) + 0.1).numpy()
    assert np.abs(open_engine('torch', derived, 'float32')(image.numpy()) - expected).max() < 1e-4
    estimates = [bytes_per_pixel(network, 'torch', 'float32', device) for network in (derived, generator)]
    assert estimates[0] == estimates[1] > 0


SIGNAL_AFTER_TWO_ENGINES = """
import os, signal
from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.restore.engines.starting import open_engine

first, second = (open_engine('openvino', CSRGenerator(num_feat=4, preset='fast'), 'float32') for _ in range(2))
del first
del second
signal.signal(signal.SIGINT, lambda *_: print('interrupted'))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_signals_arrive_after_engines_were_closed_in_order():
    finished = subprocess.run(
        [sys.executable, '-c', SIGNAL_AFTER_TWO_ENGINES], capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stdout.splitlines()[-1:]) == (0, ['interrupted']), finished.stderr


@pytest.mark.parametrize(
    ('name', 'dtype', 'tolerance'),
    [('torch', 'float32', 1e-5), ('onnx', 'float32', 1e-4), ('openvino', 'float32', 1e-3), ('torch', 'bfloat16', 0.2)],
)
def test_engines_with_the_fast_preset(lively_generator, name, dtype, tolerance):
    generator = lively_generator(preset='fast', num_scales=6).eval()
    engine = open_engine(name, generator, dtype)
    for shape in ((1, 3, 16, 16), (2, 3, 101, 70)):
        batch = torch.rand(shape)
        with torch.no_grad():
            expected = generator(batch).numpy()
        assert np.abs(expected - batch.numpy()).mean() > 0.1
        assert np.abs(engine(batch.numpy()) - expected).max() < tolerance


@pytest.mark.heavy
@pytest.mark.parametrize('preset', ['paper', 'fast'])
def test_compiled_engine_equals_torch(lively_generator, preset):
    generator = lively_generator(preset=preset).eval()
    batch = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = generator(batch).numpy()
    assert np.abs(open_engine('compiled', generator, 'float32')(batch.numpy()) - expected).max() < 1e-4


def test_bfloat16_is_close(generator):
    batch = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        expected = generator(batch).numpy()
    assert 0 < np.abs(open_engine('torch', generator, 'bfloat16')(batch.numpy()) - expected).mean() < 0.02


def test_openvino_in_bfloat16_with_low_contrast(generator):
    """Rounding the image itself to bfloat16 would lose a tenth of its contrast."""
    if 'BF16' not in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
        pytest.skip('this processor has no units for bfloat16')
    batch = 0.6 + 0.05 * F.avg_pool2d(torch.rand(1, 3, 128, 128), 3, 1, 1)
    with torch.no_grad():
        expected = generator(batch).numpy()
    assert 0 < np.abs(open_engine('openvino', generator, 'bfloat16')(batch.numpy()) - expected).mean() < 0.003


@pytest.mark.parametrize(
    ('to', 'variant', 'names'),
    [*(('onnx', variant, ['a.onnx']) for variant in VARIANTS), ('openvino', 'csr', ['a.bin', 'a.xml'])],
)
def test_exported_files_equal_torch(tmp_path, to, variant, names):
    suffix = EXPORTED[to][0]
    generator = make_generator(variant=variant, norm='rms', global_residual=True)
    assert export(generator, to, tmp_path / f'a{suffix}') < 1e-3
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    model = openvino.Core().read_model(tmp_path / f'a{suffix}')  # reads both formats
    assert model.inputs[0].partial_shape.to_string() == '[?,3,?,?]'


@pytest.mark.parametrize('to', EXPORTED)
def test_export_of_the_fast_preset(tmp_path, lively_generator, to):
    assert export(lively_generator(preset='fast'), to, tmp_path / f'a{EXPORTED[to][0]}') < 1e-3


def numbers_of(path) -> dict[int, int]:
    """Return the number of weights in an ONNX file by type."""
    counts: dict[int, int] = {}
    for weights in onnx.load(path).graph.initializer:
        counts[weights.data_type] = counts.get(weights.data_type, 0) + int(np.prod(weights.dims))
    return counts


@pytest.mark.parametrize('preset', ['paper', 'fast'])
def test_a_float16_export_stores_float16_and_takes_float32(tmp_path, lively_generator, preset):
    generator = make_generator() if preset == 'paper' else lively_generator(preset='fast')
    single, half = tmp_path / 'single.onnx', tmp_path / 'half.onnx'
    export(generator, 'onnx', single)
    assert main_export(generator, half, '--dtype', 'float16') == 0
    assert half.stat().st_size < single.stat().st_size
    numbers = numbers_of(half)
    assert numbers.pop(onnx.TensorProto.FLOAT16) > 0.95 * sum(numbers_of(single).values())  # all except the first layer
    batch = np.random.default_rng(0).random((1, 3, 96, 70), np.float32)
    restored = [
        onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']).run(None, {'input': batch})[0]
        for path in (single, half)
    ]
    assert restored[1].dtype == np.float32
    assert 0 < np.abs(restored[1] - restored[0]).mean() < 0.01


def main_export(generator, path, *options) -> int:
    """Export a network with ``hifacegan export --to onnx``."""
    weights = path.with_suffix('.safetensors')
    write_weights(weights, generator.state_dict(), generator_options(generator))
    return main(['export', '-w', str(weights), '--to', 'onnx', '-o', str(path), *options])


def test_a_network_in_train_mode_is_exported_in_eval_mode(tmp_path, lively_generator):
    generator = lively_generator().train()
    assert export(generator, 'onnx', tmp_path / 'a.onnx') < 1e-3
    assert generator.training


def test_export_refuses_to_write_a_file_with_wrong_results(tmp_path, generator, monkeypatch):
    suffix, write, _ = EXPORTED['onnx']
    monkeypatch.setitem(EXPORTED, 'onnx', (suffix, write, lambda *arguments: lambda batch: batch))
    with pytest.raises(EngineError, match='differs from torch by'):
        export(generator, 'onnx', tmp_path / 'new/folder/a.onnx')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('to', EXPORTED)
def test_a_file_that_cannot_be_written_leaves_no_folder(to, tmp_path, generator, full_disk):
    full_disk()
    file = tmp_path / f'new/a{EXPORTED[to][0]}'
    with pytest.raises(EngineError, match=rf'^{file}: {to} cannot write it \((File too large|.*stream error)\)'):
        export(generator, to, file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('name', 'dtype', 'message'),
    [
        ('cudnn', 'float32', 'choose one of auto, torch'),
        ('torch', 'int8', 'choose one of float32'),
        ('onnx', 'bfloat16', 'Use openvino or torch'),
        ('openvino', 'float16', 'CPUs do not support float16'),
        ('onnx', 'float16', 'CPUs do not support float16'),
    ],
)
def test_unsupported_precisions_are_refused(name, dtype, message):
    with pytest.raises(EngineError, match=message):
        choose_engine(name, dtype)


def test_a_missing_engine_is_reported(monkeypatch):
    for module in (starting, exported):
        monkeypatch.setattr(module, 'find_spec', lambda name: None)
    with pytest.raises(EngineError, match=r'onnxruntime is not installed.*hifacegan-plugin\[onnx\]'):
        choose_engine('onnx', 'float32')
    assert choose_engine('auto', 'bfloat16') == choose_engine('auto', 'float32') == ('torch', 'cpu')


def test_float16_needs_a_gpu(monkeypatch):
    with pytest.raises(EngineError, match='CPUs do not support float16'):
        choose_engine('auto', 'float16')
    monkeypatch.setattr(starting, 'choose_device', lambda name: 'cuda:0')
    assert choose_engine('auto', 'float16') == choose_engine('torch', 'float16') == ('torch', 'cuda:0')
    with pytest.raises(EngineError, match='engine openvino: CPUs do not support float16'):
        choose_engine('openvino', 'float16')


def test_restorer_with_another_engine(generator):
    image = np.random.default_rng(0).integers(0, 255, (70, 64, 4), np.uint8)
    assert np.abs(Restorer(generator, 'onnx')(image).astype(int) - Restorer(generator)(image)).max() <= 1


@pytest.mark.parametrize('name', ['torch', 'onnx', 'openvino'])
def test_threads_get_separate_results(lively_generator, name):
    restorer = Restorer(lively_generator(preset='fast'), name)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((64, 64), (96, 80), (64, 96)) for _ in range(8)]
    expected = [restorer(image) for image in images]
    with ThreadPoolExecutor(8) as threads:
        restored = list(threads.map(restorer, images))
    assert [np.abs(one.astype(int) - other).max() <= 1 for one, other in zip(restored, expected)] == [True] * 24


@pytest.mark.parametrize('name', ['torch', 'onnx'])
def test_engines_do_not_change_the_random_state(lively_generator, name):
    generator = lively_generator(preset='fast')
    before = torch.get_rng_state()
    Restorer(generator, name)(np.zeros((64, 64, 3), np.uint8))
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_that_run_out_of_memory_share_an_engine(generator, monkeypatch):
    opened = []

    def watched(name, *arguments):
        opened.append(name)
        return open_engine(name, *arguments)

    restorer = Restorer(generator, 'onnx', memory=1 << 20)
    monkeypatch.setattr('hifacegan_plugin.restore.engines.fitting.open_engine', watched)
    images = [np.full((64, 64, 3), value, np.uint8) for value in range(8)]
    with ThreadPoolExecutor(8) as threads:
        restored = list(threads.map(restorer, images))
    assert opened == ['torch']
    assert all(np.array_equal(one, restorer(image)) for one, image in zip(restored, images))


def test_export_and_convert_commands(generator, tmp_path, capsys):
    checkpoint = tmp_path / 'net_g.pth'
    torch.save({'params': generator.state_dict()}, checkpoint)
    converted = tmp_path / 'new/folder/net_g.safetensors'
    assert main(['convert', '-w', str(checkpoint), '-o', str(converted), '--norm', 'rms']) == 0
    assert read_weights(converted)[1] == generator_options(generator) | {'norm': 'rms'}
    assert load_generator(converted).norm == 'rms'
    assert main(['export', '-w', str(converted), '--to', 'onnx', '-o', str(tmp_path / 'onnx/net_g.onnx')]) == 0
    assert (tmp_path / 'onnx/net_g.onnx').stat().st_size > 100_000
    assert 'differs from torch by' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['convert', '-w', 'absent.pth', '-o', 'a.safetensors'], 'there is no such weights file'),
        (['convert', '-w', 'net_g.safetensors', '-o', 'a.pth'], 'must end in .safetensors'),
        (['export', '-w', 'net_g.safetensors', '--to', 'onnx', '-o', 'a.xml'], 'must end in .onnx'),
        (
            ['export', '-w', 'net_g.safetensors', '--to', 'openvino', '-o', 'a.xml', '--dtype', 'float16'],
            'openvino is not written in float16',
        ),
    ],
)
def test_errors_of_export_and_convert(generator, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_weights('net_g.safetensors', generator.state_dict(), {})
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['net_g.safetensors']
