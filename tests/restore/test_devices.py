"""Tests of devices: selection, and fallbacks if one is full or does not work. They need no real devices."""

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from skimage import data

from hifacegan_plugin.restore import Restorer
from hifacegan_plugin.restore.engines import devices, starting
from hifacegan_plugin.restore.engines.devices import EngineError, choose_device, is_out_of_memory, unused_memory
from hifacegan_plugin.restore.engines.footprint import free_memory
from hifacegan_plugin.restore.engines.starting import choose_engine


@pytest.fixture
def machine(monkeypatch):
    """A function that simulates accelerators, by kind and number."""

    def equip(**counts):
        def module(device):
            there = counts.get(str(device).partition(':')[0], 0)
            return SimpleNamespace(
                is_available=lambda: there > 0,
                device_count=lambda: there,
                current_device=lambda: there - 1,
                mem_get_info=lambda device: (10 << 30, 80 << 30),
                memory_reserved=lambda device: 2 << 30,
                memory_allocated=lambda device: 1 << 30,
                recommended_max_memory=lambda: 12 << 30,
                current_allocated_memory=lambda: 1 << 30,
                empty_cache=lambda: None,
            )

        monkeypatch.setattr(torch, 'get_device_module', module)
        monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: 'mps' in counts)

    return equip


@pytest.mark.parametrize(
    ('there', 'name', 'chosen'),
    [
        ({}, 'auto', 'cpu'),
        ({'cuda': 2}, 'auto', 'cuda:1'),  # the current device
        ({'cuda': 2}, 'cuda', 'cuda:1'),
        ({'cuda': 2}, 'cuda:0', 'cuda:0'),
        ({'cuda': 2}, 'cpu', 'cpu'),
        ({'xpu': 1}, 'auto', 'xpu:0'),
        ({'mps': 1}, 'auto', 'mps'),
        ({'mps': 1}, 'mps', 'mps'),
    ],
)
def test_devices_by_name(machine, there, name, chosen):
    machine(**there)
    assert choose_device(name) == chosen


def test_a_torch_device_is_accepted(lively_generator):
    assert Restorer(lively_generator(preset='fast'), device=torch.device('cpu')).device == 'cpu'


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('cuda:2', r'device cuda:2: torch .* finds 2 of kind cuda here'),
        ('mps', r'device mps: torch .* finds 0 of kind mps here\. Use auto or cpu'),
        *((name, 'choose auto, cpu, cuda') for name in ('gpu', '', 'cuda:', 'cuda:x', 'cuda:-1', 'meta')),
    ],
)
def test_missing_devices_are_reported(machine, name, message):
    machine(cuda=2)
    with pytest.raises(EngineError, match=message):
        choose_device(name)


def test_free_memory_of_a_device(machine):
    machine(cuda=1, mps=1)
    assert unused_memory('cuda:0') == unused_memory('mps') == 11 << 30
    assert free_memory('torch', 'cuda:0') == pytest.approx(0.85 * (11 << 30), abs=1)
    assert free_memory('onnx', 'cuda:0') == free_memory('torch', 'cpu') == 3 << 30


@pytest.mark.parametrize(
    ('providers', 'name', 'chosen'),
    [
        (['CPUExecutionProvider'], 'auto', 'cpu'),
        (['TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider'], 'auto', 'cuda'),
        (['CUDAExecutionProvider', 'CPUExecutionProvider'], 'cuda:1', 'cuda:1'),
        (['CoreMLExecutionProvider', 'CPUExecutionProvider'], 'auto', 'mps'),
        (['DmlExecutionProvider', 'CPUExecutionProvider'], 'auto', 'dml'),
        (['DmlExecutionProvider', 'CPUExecutionProvider'], 'cpu', 'cpu'),
    ],
)
def test_devices_of_onnx_runtime_depend_on_its_providers(monkeypatch, providers, name, chosen):
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: providers)
    assert choose_engine('onnx', 'float32', name) == ('onnx', chosen)


@pytest.mark.parametrize(
    ('engine', 'device', 'message'),
    [
        ('onnx', 'cuda', r'supports cpu, not cuda\. Install one with CUDAExecutionProvider'),
        ('onnx', 'xpu', r'supports cpu, not xpu'),
        ('openvino', 'cuda', r'openvino: runs on the CPU only'),
    ],
)
def test_engines_that_do_not_support_a_device(engine, device, message):
    with pytest.raises(EngineError, match=message):
        choose_engine(engine, 'float32', device)


def test_onnx_runtime_falls_back_if_its_provider_does_not_start(monkeypatch, lively_generator, caplog):
    """ONNX Runtime reports CUDA, as its GPU version does on a machine without a driver."""
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: ['CUDAExecutionProvider'])
    generator = lively_generator(preset='fast')
    with pytest.raises(EngineError, match=r'onnx: .*CUDAExecutionProvider'):
        Restorer(generator, 'onnx', device='cuda')
    restorer = Restorer(generator, 'onnx')
    assert (restorer.engine, restorer.device) == ('onnx', 'cpu')
    assert 'Restoring on the CPU.' in caplog.text


@pytest.mark.parametrize(
    ('error', 'expected'),
    [
        (torch.OutOfMemoryError('Allocation on device'), True),
        (MemoryError(), True),
        (RuntimeError('MPS backend out of memory (MPS allocated: 9.05 GB, max allowed: 9.07 GB)'), True),
        (RuntimeError('XPU out of memory. Tried to allocate 20.00 GiB.'), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"), True),
        (Exception('[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 4294967296'), True),
        (RuntimeError('Available memory of 1 is smaller than requested bytes of 2'), True),
        (RuntimeError('std::bad_alloc'), True),
        (RuntimeError('CUDA error: an illegal memory access was encountered'), False),
        (ValueError('there are no pixels in (1, 3, 0, 5)'), False),
    ],
)
def test_out_of_memory_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_the_out_of_memory_error_of_this_machine():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60)
    assert is_out_of_memory(raised.value)


def engine_on(device, largest):
    """Return a function that opens CPU engines that run out of memory on ``device`` above a size."""
    opens = starting.open_torch

    def open_torch(generator, dtype, on):
        engine = opens(generator, dtype, 'cpu')

        def restore(images, **options):
            if on == device and images[0, 0].size > largest:
                raise RuntimeError('MPS backend out of memory (MPS allocated: 9.05 GB)')
            return engine(images, **options)

        return restore

    return open_torch


@pytest.mark.parametrize('preset', ['paper', 'fast'])
def test_the_cpu_is_used_if_the_device_is_full(machine, lively_generator, monkeypatch, caplog, preset):
    machine(mps=1)
    monkeypatch.setattr(starting, 'open_torch', engine_on('mps', 64 * 64))  # enough only for the check of the device
    generator = lively_generator(preset=preset)
    restorer = Restorer(generator)
    assert restorer.device == 'mps'
    image = np.ascontiguousarray(data.astronaut()[:200, :320])
    restored = restorer(image)
    assert np.array_equal(restored, Restorer(generator, device='cpu')(image))
    assert '320 x 200 pixels: mps ran out of memory, trying with less.' in caplog.text
    assert '320 x 200 pixels: not even the smallest tile fits: restoring on the CPU, in float32.' in caplog.text


def test_other_errors_of_a_device_are_raised(lively_generator, monkeypatch):
    def broken(images, **options):
        raise RuntimeError('CUDA error: an illegal memory access was encountered')

    restorer = Restorer(lively_generator(preset='fast'), device='cpu')
    monkeypatch.setitem(restorer._fitting._opened, 'torch', broken)
    with pytest.raises(RuntimeError, match='illegal memory access'):
        restorer(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize('fault', ['wrong numbers', 'missing operation'])
def test_a_device_with_wrong_results_is_not_used(machine, lively_generator, monkeypatch, caplog, fault):
    opens = starting.open_torch

    def open_torch(generator, dtype, device):
        def restore(images, **options):
            if fault == 'missing operation':
                raise NotImplementedError('The operator aten::rms_norm is not implemented for the MPS device.')
            return images

        return opens(generator, dtype, device) if device == 'cpu' else restore

    machine(mps=1)
    monkeypatch.setattr(starting, 'open_torch', open_torch)
    generator = lively_generator(preset='fast')
    with pytest.raises(EngineError, match=r'engine torch on mps: .* --device cpu'):
        Restorer(generator, device='mps')
    assert Restorer(generator).device == 'cpu'
    assert 'Restoring on the CPU.' in caplog.text


def test_devices_are_checked_once(machine, lively_generator, monkeypatch):
    machine(cuda=1)
    monkeypatch.setattr(starting, 'open_torch', lambda generator, dtype, device: lambda images: images * np.nan)
    assert Restorer(lively_generator(preset='fast'), device='cuda').device == 'cuda:0'
    assert devices.count_devices('cuda') == 1
