"""Tests that compare training on a GPU with training on the CPU, through the host's command."""

import copy
import fcntl
import os
import re
import sys
import warnings

import numpy as np
import pytest
import torch
from conftest import without_tf32
from host_training import NAME, TRAIN, assert_same_weights, logged, run, small, write_sgd_options
from small_training import OPTIONS, batch, built

pytestmark = pytest.mark.cuda

LOSSES = ('l_g_pix', 'l_g_gan', 'l_g_feat', 'l_d_real', 'l_d_fake')
VARIANTS = {
    'fp32': {},
    'bf16': {'train__amp': 'bf16'},
    'fp16': {'train__amp': 'fp16'},
    'gradient_checkpointing': {'train__gradient_checkpointing': True},
    'channels_last': {'train__channels_last': True},
    'compile': {'train__compile': True},
}
HALF = ('bf16', 'fp16')  # rounding errors grow from the second iteration on
NEAR = 2e-4  # rounding errors of float32 after five iterations
SYNCHRONISED = 'called a synchronizing CUDA operation'  # from torch's warning


def overrides(database, iterations, device, **others):
    """Return options that shrink the demo, use the paper's network, and prefetch uint8 images from pinned memory."""
    prefetching = {'datasets__train__pin_memory': True, 'datasets__train__prefetch_mode': 'cuda'}
    if device.type == 'cpu':
        prefetching = {'datasets__train__prefetch_mode': 'cpu'}
    return small(
        database,
        iterations,
        network_g__preset='paper',
        datasets__train__num_worker_per_gpu=1,
        datasets__train__deliver='uint8',
        val__val_freq=3,
        **prefetching,
        **others,
    )


def figures(output, loss):
    """Return the values of a loss in the host's log, by iteration."""
    return [float(value) for value in re.findall(rf'{loss}: ([\d.e+-]+|nan|inf)', output)]


@pytest.fixture(scope='session')
def trained_on_the_cpu(small_lmdb, tmp_path_factory):
    """Options, output and folder of five iterations on the CPU. All pytest processes share one training."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if 'PYTEST_XDIST_WORKER' in os.environ else folder) / 'trained_on_the_cpu'
    folder.mkdir(exist_ok=True)
    options, output = folder / 'sgd.yml', folder / 'output'
    with (folder / 'lock').open('w') as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            patch.setenv('CUDA_VISIBLE_DEVICES', '')
            write_sgd_options(folder)
            output.write_text(run([*TRAIN[:-1], options, *overrides(small_lmdb, 5, torch.device('cpu'))], folder))
    return options, output.read_text(), folder / NAME


@pytest.mark.parametrize('way', VARIANTS)
def test_training_on_the_gpu_equals_training_on_the_cpu(
    way, trained_on_the_cpu, small_lmdb, tmp_path, device, monkeypatch
):
    monkeypatch.setenv('NVIDIA_TF32_OVERRIDE', '0')
    options, expected_output, expected = trained_on_the_cpu
    output = run([*TRAIN[:-1], options, *overrides(small_lmdb, 5, device, **VARIANTS[way])], tmp_path)
    if device.type == 'cuda':
        assert torch.cuda.get_device_name() in output or 'Use cuda prefetch dataloader' in output
    assert list(logged(output)) == list(range(1, 6))
    compared = 1 if way in HALF else 5
    for loss in LOSSES:
        actual, on_cpu = figures(output, loss), figures(expected_output, loss)
        assert np.isfinite(actual).all() and len(actual) == 5
        assert actual[:compared] == pytest.approx(on_cpu[:compared], rel=0.05 if way in HALF else 1e-2, abs=NEAR)
    if way not in HALF:
        assert_same_weights(on_the_cpu(tmp_path / NAME), expected, NEAR)


def on_the_cpu(experiment):
    """Move the last weights of a training to the CPU, in place."""
    for network in 'gd':
        path = experiment / f'models/net_{network}_latest.pth'
        torch.save(torch.load(path, map_location='cpu'), path)
    return experiment


def test_resumed_training_equals_uninterrupted_training(small_lmdb, tmp_path, device, monkeypatch):
    monkeypatch.setenv('NVIDIA_TF32_OVERRIDE', '0')
    options = write_sgd_options(tmp_path)
    folders = tmp_path / 'whole', tmp_path / 'resumed'
    for folder, lengths in zip(folders, ((4,), (2, 4)), strict=True):
        folder.mkdir()
        for iterations in lengths:
            more = overrides(small_lmdb, iterations, device, train__scheduler__end_iter=5)
            output = run([*TRAIN[:-1], options, '--auto_resume', *more], folder)
    assert 'Resuming training from epoch' in output
    assert list(logged(output)) == [3, 4]
    assert_same_weights(folders[1] / NAME, folders[0] / NAME, NEAR)


def test_distributed_training_with_one_process_equals_plain_training(
    trained_on_the_cpu, small_lmdb, tmp_path, device, monkeypatch
):
    monkeypatch.setenv('NVIDIA_TF32_OVERRIDE', '0')
    options, _, expected = trained_on_the_cpu
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=1', '-m']
    more = overrides(small_lmdb, 5, device, network_g__norm='syncbatch')
    output = run([*torchrun, 'basicsr.train', '-opt', options, '--launcher', 'pytorch', *more], tmp_path)
    assert 'DistributedDataParallel' in output
    assert_same_weights(on_the_cpu(tmp_path / NAME), expected, NEAR)


@pytest.fixture
def options_on(device, tmp_path):
    """Options of a small training on the device."""
    opt = copy.deepcopy(OPTIONS)
    opt['num_gpu'] = int(device.type == 'cuda')
    opt['path'] = {'models': str(tmp_path), 'training_states': str(tmp_path)}
    return opt


def step(model, iteration):
    model.update_learning_rate(iteration)
    model.feed_data(batch(iteration))
    model.optimize_parameters(iteration)


@pytest.mark.parametrize('amp', ['none', 'bf16'])
def test_an_iteration_does_not_synchronize_with_the_gpu(amp, options_on, device):
    if device.type == 'cpu':
        pytest.skip('needs a GPU')
    options_on['train']['amp'] = amp
    model = built(options_on)
    for iteration in (1, 2, 3):
        step(model, iteration)
    data = {name: images.pin_memory() for name, images in batch(4).items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            model.update_learning_rate(4)
            model.feed_data(data)
            model.optimize_parameters(4)
        finally:
            torch.cuda.set_sync_debug_mode('default')
    waits = [f'{warning.filename}:{warning.lineno}' for warning in caught if SYNCHRONISED in str(warning.message)]
    assert waits == []


def test_updates_with_other_options_equal_those_on_the_cpu(options_on, device, record_property):
    """EMA, gradient clipping and accumulation, and progressive training, which the other tests do not use."""
    options_on['train'] |= {
        'grad_clip': 1.0,
        'accumulate_iters': 2,
        'progressive': [2, 4, 6],
        'net_d_iters': 1,
        'optim_g': {'type': 'SGD', 'lr': 0.05},
        'optim_d': {'type': 'SGD', 'lr': 0.05},
    }
    on_gpu = built(options_on)
    on_cpu = built({**options_on, 'num_gpu': 0})
    with without_tf32():
        for iteration in range(1, 9):
            step(on_gpu, iteration)
            step(on_cpu, iteration)
    for name in ('net_g', 'net_g_ema', 'net_d'):
        actual = getattr(on_gpu, name).state_dict()
        for key, value in getattr(on_cpu, name).state_dict().items():
            torch.testing.assert_close(actual[key].cpu(), value, atol=NEAR, rtol=0, msg=lambda m, k=key: f'{k}: {m}')
