"""Tests of restoring on a GPU, compared with the CPU; memory, doctor, comparison and export."""

import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from conftest import without_tf32
from host_training import DEMO, run
from skimage import data

from hifacegan_plugin.restore.engines.exported import export
from hifacegan_plugin.restore.engines.fitting import OVERLAP
from hifacegan_plugin.restore.engines.starting import open_engine
from hifacegan_plugin.restore.engines.tiles import restore_in_tiles
from hifacegan_plugin.restore.restorer import Restorer
from hifacegan_plugin.weights import generator_options, write_weights

pytestmark = pytest.mark.cuda

FORMS = {'paper': {'num_feat': 4}, 'fast': {'num_feat': 16, 'preset': 'fast'}}
MEAN_LEVELS = {'float32': 0.1, 'float16': 1, 'bfloat16': 6}  # of 255; the weights amplify rounding errors


@pytest.fixture
def image():
    """A photograph of 192 x 224 pixels."""
    return np.ascontiguousarray(data.astronaut()[40:232, 140:364])


def on_the_cpu(generator, images):
    """Restore ``images (N, 3, H, W)`` with the original network."""
    with torch.no_grad():
        return generator.cpu().eval()(torch.from_numpy(images)).numpy()


def expected_of(generator, image):
    """Restore an image with the original network; return levels of 0 to 255."""
    restored = on_the_cpu(generator, image.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    return np.rint(restored[0].transpose(1, 2, 0).clip(0, 1) * 255)


@pytest.mark.parametrize(
    ('engine', 'form', 'dtype'),
    [
        ('compiled', 'paper', 'float16'),
        ('compiled', 'fast', 'float32'),
        *(('torch', form, dtype) for form in FORMS for dtype in MEAN_LEVELS),
    ],
)
def test_restored_images_equal_those_of_the_cpu(form, dtype, engine, image, lively_generator, device, record_property):
    if device.type == 'cpu' and dtype == 'float16':
        pytest.skip('float16 is for GPUs')
    generator = lively_generator(**FORMS[form])
    expected = expected_of(generator, image)
    with without_tf32():
        actual = Restorer(generator, engine, dtype)(image)
    difference = np.abs(actual - expected)
    record_property('largest_levels', float(difference.max()))
    record_property('mean_levels', float(difference.mean()))
    assert expected.std() > 5  # the image is not constant
    assert difference.mean() <= MEAN_LEVELS[dtype]
    if dtype == 'float32':
        assert difference.max() <= 1


@pytest.mark.parametrize('size', [(64, 64), (65, 100), (300, 77), (10, 20), (515, 400)])
def test_images_of_any_size(size, lively_generator, device):
    generator = lively_generator(num_feat=4)
    image = np.resize(data.astronaut(), (*size, 3))
    with without_tf32():
        actual = Restorer(generator, 'torch')(image)
    assert actual.shape == image.shape
    if min(size) >= 64:
        assert np.abs(actual - expected_of(generator, image)).max() <= 1


@pytest.mark.parametrize('form', FORMS)
def test_large_images_are_restored_in_tiles(form, lively_generator, device, caplog):
    """The CPU uses the same tiles."""
    generator = lively_generator(**FORMS[form])
    image = data.astronaut()
    with without_tf32():
        actual = Restorer(generator, 'torch', memory=14 << 20)(image)
    if form == 'fast':
        expected = expected_of(generator, image)
    else:
        (size,) = re.findall(r'restoring tiles of (\d+)', caplog.text)
        images = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
        restored = restore_in_tiles(
            lambda tile: on_the_cpu(generator, tile), images, multiple=32, size=int(size), overlap=OVERLAP
        )
        expected = restored[0].transpose(1, 2, 0).clip(0, 1) * 255
    assert np.abs(actual - expected).max() < 1.5  # levels; one result is rounded


def test_out_of_memory_leads_to_smaller_tiles(lively_generator, device, caplog):
    if device.type == 'cpu':
        pytest.skip('limits the memory of a GPU; tests/restore/test_restore.py has an engine that runs out of it')
    restorer = Restorer(lively_generator(num_feat=16), 'torch', memory=1 << 40)
    image = np.ascontiguousarray(np.tile(data.astronaut(), (4, 4, 1)))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + (256 << 20)) / total)
    try:
        restored = restorer(image)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 'cuda:0 ran out of memory' in caplog.text
    assert 'restoring tiles of' in caplog.text
    assert restored.shape == image.shape and restored.std() > 5


@pytest.mark.parametrize(
    ('way', 'form', 'dtype'),
    [
        ('frugal', 'paper', 'float32'),
        ('frugal', 'paper', 'float16'),
        ('compiled', 'paper', 'float16'),
        *(('torch', form, dtype) for form in FORMS for dtype in ('float32', 'float16')),
    ],
)
def test_peak_memory_is_close_to_the_estimate(form, dtype, way, lively_generator, device, record_property):
    """The measured peak is below the estimate, but not by much."""
    if device.type == 'cpu':
        pytest.skip('counts the memory of a GPU')
    generator = lively_generator(num_feat=16, **{'preset': form} if form == 'fast' else {})
    restorer = Restorer(generator, 'compiled' if way == 'compiled' else 'torch', dtype)
    restore = restorer._fitting._open(way)
    images = np.random.default_rng(0).random((1, 3, 1024, 1024), np.float32)
    restore(images)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    restore(images)
    measured = torch.cuda.max_memory_allocated() - before
    estimate = images[:, 0].size * restorer._fitting._bytes_per_pixel(way)
    record_property('measured_bytes_per_pixel', measured / images[:, 0].size)
    record_property('estimated_bytes_per_pixel', estimate / images[:, 0].size)
    assert 0.2 * estimate < measured < 1.1 * estimate


def test_several_threads_share_a_network(lively_generator, image, device):
    restorer = Restorer(lively_generator(num_feat=4), 'torch')
    with without_tf32():
        expected = restorer(image)
        with ThreadPoolExecutor(3) as pool:
            for actual in pool.map(restorer, [image] * 6):
                assert np.abs(actual.astype(int) - expected).max() <= 1


def test_the_doctor_on_the_gpu(small_lmdb, tmp_path, device):
    options = tmp_path / 'options.yml'
    database = shutil.copytree(small_lmdb, tmp_path / 'images.lmdb')
    options.write_text(re.sub(r'dataroot_gt: .*', f'dataroot_gt: {database}', DEMO.read_text()))
    command = [sys.executable, '-m', 'hifacegan_plugin', 'doctor', '-opt', options, '--iterate']
    try:
        output = run(command, tmp_path)
    except AssertionError as error:
        if 'is not installed' in str(error):
            pytest.skip('a package is missing here, as the doctor says')
        raise
    if device.type == 'cuda':
        assert torch.cuda.get_device_name() in output
    assert re.search(r'an iteration takes [\d.]+ s', output.replace('\n    ', ' '))


def test_a_comparison_on_the_gpu(small_lmdb, tmp_path, lively_generator, device):
    generator = lively_generator(num_feat=4, norm='rms')
    write_weights(tmp_path / 'csr.safetensors', generator.state_dict(), generator_options(generator))
    degraded = {
        'type': 'DegradationDataset',
        'dataroot_gt': str(small_lmdb),
        'io_backend': {'type': 'lmdb'},
        'degradation': 'noise',
        'resize': [64, 64],
    }
    comparison = {
        'name': 'test',
        'datasets': {'degraded': degraded},
        'restorers': {'input': {'type': 'input'}, 'CSR': {'pretrain_network_g': str(tmp_path / 'csr.safetensors')}},
        'metrics': {'PSNR': {'type': 'calculate_psnr', 'crop_border': 0}},
    }
    file = tmp_path / 'compare.yml'
    file.write_text('plugin: !!python/name:hifacegan_plugin.__version__\n' + yaml.safe_dump(comparison))
    run([sys.executable, '-m', 'hifacegan_plugin', 'compare', '-opt', file, '-o', 'out'], tmp_path)
    report = json.loads((tmp_path / 'out/comparison.json').read_text())
    rows = {row['label']: row for row in report['test_sets'][0]['rows']}
    assert report['problems'] == [] and rows['CSR']['restored'] == 6
    assert rows['CSR']['peak_mib'] > 0


@pytest.mark.parametrize('form', FORMS)
def test_exported_networks_equal_the_gpu(form, lively_generator, tmp_path, device):
    generator = lively_generator(**FORMS[form])
    path = tmp_path / 'network.onnx'
    export(generator, 'onnx', path)
    images = np.random.default_rng(0).random((2, 3, 96, 128), np.float32)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    (exported,) = session.run(None, {'input': images})
    with without_tf32():
        on_card = open_engine('torch', generator, 'float32', device.type)(images)
    np.testing.assert_allclose(exported, on_card, atol=1e-3)


def test_the_command_on_the_gpu(lively_generator, image, tmp_path, device):
    import cv2

    generator = lively_generator(num_feat=4)
    write_weights(tmp_path / 'csr.safetensors', generator.state_dict(), generator_options(generator))
    cv2.imwrite(str(tmp_path / 'degraded.png'), image[..., ::-1])
    dtype = 'float16' if device.type == 'cuda' else 'bfloat16'
    run(
        [
            sys.executable,
            '-m',
            'hifacegan_plugin',
            'restore',
            '-i',
            'degraded.png',
            '-o',
            'out',
            '-w',
            'csr.safetensors',
            '--engine',
            'torch',
            '--dtype',
            dtype,
        ],
        tmp_path,
    )
    (written,) = (tmp_path / 'out').rglob('*.png')
    restored = cv2.imread(str(written))[..., ::-1]
    assert np.abs(restored - expected_of(generator, image)).mean() <= MEAN_LEVELS[dtype]
