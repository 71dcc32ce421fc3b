"""Tests of restoring arrays and files with the class and the command."""

import logging
import os
import re
import subprocess
import sys
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image, features
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.published_layouts import without_markers
from hifacegan_plugin.data.degradations import build_degradation
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph
from hifacegan_plugin.restore import Restorer
from hifacegan_plugin.restore.engines.fitting import OVERLAP
from hifacegan_plugin.restore.engines.footprint import bytes_per_pixel
from hifacegan_plugin.restore.engines.tiles import restore_in_tiles, spans
from hifacegan_plugin.restore.files import attempt
from hifacegan_plugin.restore.planning import Task
from hifacegan_plugin.system.files import whole_file
from hifacegan_plugin.weights import generator_options, write_weights


@pytest.fixture(scope='module')
def generator():
    """A network that returns its input with small changes."""
    torch.manual_seed(0)
    network = CSRGenerator(num_feat=4, global_residual=True).eval()
    for parameter in network.parameters():
        if parameter.dim() == 4:
            torch.nn.init.xavier_normal_(parameter)
    torch.nn.init.xavier_normal_(network.to_picture.weight, gain=0.005)
    return network


@pytest.fixture(scope='module')
def weights(generator, tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'net_g.safetensors'
    write_weights(path, generator.state_dict(), generator_options(generator))
    return path


@pytest.fixture
def photo():
    return np.ascontiguousarray(data.astronaut()[60:160, 180:260])


@torch.no_grad()
def expected(generator, image):
    """Return the rounded output of the network for an RGB image of at least 64 x 64 pixels."""
    peak = np.iinfo(image.dtype).max
    x = torch.from_numpy(image.astype(np.float32) / peak).permute(2, 0, 1)[None]
    return generator(x)[0].clamp(0, 1).mul(peak).round().permute(1, 2, 0).numpy()


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_result_equals_the_networks_output(generator, photo, dtype):
    image = photo.astype(dtype) * (np.iinfo(dtype).max // 255)
    restored = Restorer(generator)(image)
    assert restored.dtype == dtype
    assert np.abs(restored - expected(generator, image)).max() <= 1 + (dtype == np.uint16) * 6
    assert np.abs(restored.astype(int) - image).mean() > np.iinfo(dtype).max / 255 / 10  # the network changes the image


def test_restorer_of_a_weights_file(generator, weights, photo):
    assert np.array_equal(Restorer(weights)(photo), Restorer(generator)(photo))


@pytest.mark.parametrize(
    ('name', 'degradation', 'gain'),
    [
        ('general', {'type': 'GaussianNoise', 'sigma': 20}, 10.7),
        ('general', {'type': 'GaussianNoise', 'sigma': 50}, 13.5),
        ('general', {'type': 'JPEG', 'quality': 30}, 1.4),
        ('general', {'type': 'GaussianBlur', 'sigma': 1.2}, 3.2),
        ('faces', 'full', 3.6),
        ('faces', 'gfpgan', 1),
    ],
    ids=['noise', 'much noise', 'jpeg', 'blur', 'faces', 'blurred faces'],
)
def test_psnr_gain_of_the_packaged_networks(name, degradation, gain):
    """Gain of the PSNR in dB on an image that the networks were not trained on."""
    truth = np.ascontiguousarray(data.astronaut()[:256, 100:356])
    degraded = build_degradation(degradation)(truth, np.random.default_rng(0))
    restored = Restorer(name)(degraded)
    assert peak_signal_noise_ratio(truth, restored) > peak_signal_noise_ratio(truth, degraded) + gain


def test_general_hardly_changes_a_clean_image():
    clean = np.ascontiguousarray(data.astronaut()[:256, 100:356])
    assert peak_signal_noise_ratio(clean, Restorer()(clean)) > 40


@pytest.mark.parametrize(
    'shape', [(70, 90), (70, 90, 2), (70, 90, 3), (70, 90, 4), (63, 64, 3), (5, 100, 3), (1, 1), (70, 90, 1)]
)
def test_shapes(generator, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    restored = Restorer(generator)(image)
    assert restored.shape == shape
    if shape[2:] in ((2,), (4,)):
        assert np.array_equal(restored[..., -1], image[..., -1])


def test_grey_images_are_restored_like_grey_rgb_images(generator, photo):
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    restored = Restorer(generator)(grey)
    colours = Restorer(generator)(np.dstack([grey] * 3))
    assert np.abs(restored.astype(int) - cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)).max() <= 1


def test_small_images_keep_their_content(generator):
    image = np.ascontiguousarray(data.astronaut()[100:140, 200:240])
    assert np.abs(Restorer(generator)(image).astype(int) - image).mean() < 20


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_tensors_are_restored_like_arrays(generator, photo, channels):
    restorer = Restorer(generator)
    image = np.dstack([photo, photo[::-1, :, 0]])[..., [0, 3][:channels] if channels < 3 else slice(channels)]
    expected = restorer(image)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    restored = restorer(tensor)
    assert restored.dtype == torch.uint8
    assert np.array_equal(restored.permute(1, 2, 0), expected)
    batch = torch.stack([tensor, tensor.flip(2)]).double() / 255
    restored = restorer(batch)
    assert (restored.dtype, restored.shape) == (torch.float64, batch.shape)
    assert np.abs(restored[0].permute(1, 2, 0).numpy() * 255 - expected).max() < 0.51
    half = restorer(batch[:1].bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half - restored[:1]).abs().max() < 0.02


def test_paths_are_restored(generator, photo, tmp_path):
    path = tmp_path / 'a.png'
    write_photograph(path, Photograph(photo))
    restorer = Restorer(generator)
    assert np.array_equal(restorer(path), restorer(photo))
    assert np.array_equal(restorer(str(path)), restorer(photo))
    path.write_bytes(path.read_bytes()[:500])
    for file, message in ((path, 'is damaged or truncated'), (tmp_path / 'b.png', 'cannot be read')):
        with pytest.raises(ValueError, match=f'{file.name}: {message}'):
            restorer(file)


@pytest.mark.parametrize(('image', 'error', 'message'), [
    (np.zeros((8, 8, 3), np.float32), ValueError, r'not float32 \(8, 8, 3\); use a tensor for .* floating point'),
    (np.zeros((8, 8, 5), np.uint8), ValueError, 'an image array must be uint8 or uint16'),
    (np.zeros((3, 8, 8), np.uint8), ValueError, r'not uint8 \(3, 8, 8\); use a tensor for \(C, H, W\)'),
    (np.zeros((1, 8, 8, 3), np.uint8), ValueError, 'use a tensor for .* batches'),
    (np.zeros((0, 8), np.uint8), ValueError, 'an image array must be uint8 or uint16'),
    (np.uint8(7), TypeError, 'not uint8'),
    (np.array(7, np.uint8), ValueError, r'not uint8 \(\)'),
    (torch.zeros(8, 8), ValueError, r'\(C, H, W\) or \(N, C, H, W\) .* not torch.float32 \(8, 8\)'),
    (torch.zeros(8, 8, 3), ValueError, r'not torch.float32 \(8, 8, 3\)'),
    (torch.zeros(0, 3, 8, 8), ValueError, 'an image as a tensor is'),
    (torch.zeros(3, 8, 8, dtype=torch.int64), ValueError, 'not torch.int64'),
    (torch.full((3, 8, 8), 200.0), ValueError, r'lies in \[0, 1\]: divide it by 255'),
    (torch.full((3, 8, 8), float('nan')), ValueError, r'lies in \[0, 1\]'),
    ([[1, 2], [3, 4]], TypeError, 'not list'),
    (Image.new('RGB', (8, 8)), TypeError, 'not Image .numpy.asarray'),
    (None, TypeError, 'not NoneType'),
])  # fmt: skip
def test_invalid_images_are_refused(generator, image, error, message):
    with pytest.raises(error, match=message):
        Restorer(generator)(image)


def test_batches_of_channels_are_checked(generator, photo):
    restorer = Restorer(generator)
    images = np.float32(photo / 255).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(
        restorer.restore(images[..., ::-1])[..., :8], restorer.restore(images[..., ::-1].copy())[..., :8], atol=1e-5
    )
    for given in (images[0], images.astype(np.float64), images[:, :1]):
        with pytest.raises(ValueError, match=r'restore\(\) takes float32 \(N, 3, H, W\)'):
            restorer.restore(given)
    with pytest.raises(ValueError, match='no pixels'):
        restorer.restore(images[..., :0])
    with pytest.raises(TypeError, match='not Tensor'):
        restorer.restore(torch.from_numpy(images))


def test_results_that_are_not_finite_are_refused(generator, photo):
    restorer = Restorer(generator)
    restorer._fitting._opened['torch'] = lambda images: images * np.float32('nan')
    with pytest.raises(ValueError, match=r'NaN.*in float32'):
        restorer(photo)


def test_grey_network(photo):
    restorer = Restorer(CSRGenerator(num_in_ch=1, num_feat=4))
    assert restorer(photo[..., 0]).shape == photo.shape[:2]
    with pytest.raises(ValueError, match='weights are for grey images'):
        restorer(photo)


def test_less_memory_gives_the_same_image(generator):
    image = np.ascontiguousarray(data.astronaut()[:192, 100:292])
    ample = Restorer(generator)
    scarce = Restorer(
        generator, memory=int(image.shape[0] * image.shape[1] * ample._fitting._bytes_per_pixel('frugal') * 1.1)
    )
    assert np.abs(scarce(image).astype(int) - ample(image)).max() <= 1
    assert 'frugal' in scarce._fitting._opened
    assert 'frugal' not in ample._fitting._opened


def test_too_little_memory_leads_to_tiles_and_a_warning(generator, caplog):
    image = np.ascontiguousarray(data.astronaut()[:192, 100:400])
    restorer = Restorer(generator, memory=192 * 192 * Restorer(generator)._fitting._bytes_per_pixel('frugal'))
    with caplog.at_level(logging.WARNING, 'basicsr.hifacegan_plugin'):
        tiled = restorer(image)
    assert 'restoring tiles of 192 x 192' in caplog.text
    assert np.abs(tiled.astype(int) - Restorer(generator)(image)).mean() < 8


@pytest.mark.parametrize('preset', ['paper', 'fast'])
def test_out_of_memory_on_a_gpu_leads_to_less_memory(lively_generator, monkeypatch, caplog, preset):
    """The engine runs out of memory above 256 x 256 pixels, like a GPU that other programs use."""
    generator = lively_generator(preset=preset)
    image = np.ascontiguousarray(data.astronaut()[:, :420])
    restorer, sizes = Restorer(generator), []
    engine = restorer._fitting._opened['torch']

    def small_card(images, **options):
        sizes.append(images.shape[-2:])
        if images[0, 0].size > 256**2:
            raise torch.OutOfMemoryError('CUDA out of memory.')
        return engine(images, **options)

    monkeypatch.setitem(restorer._fitting._opened, 'torch', small_card)
    restored = restorer(image)
    assert (
        sizes.count(image.shape[:2]) == {'paper': 2, 'fast': 1}[preset]
    )  # the paper's network is also tried in frugal mode
    assert '420 x 512 pixels: cpu ran out of memory, trying with less.' in caplog.text
    images = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    if preset == 'fast':
        expected = engine(images)
    else:
        assert 'restoring tiles of 224 x 224' in caplog.text
        expected = restore_in_tiles(engine, images, multiple=32, size=224, overlap=OVERLAP)
    assert np.abs(restored - expected[0].transpose(1, 2, 0).clip(0, 1) * 255).max() <= 1


def test_too_little_memory_for_the_smallest_tile_is_an_error(generator, monkeypatch):
    def full(images, **options):
        raise torch.OutOfMemoryError('CUDA out of memory.')

    restorer = Restorer(generator, device='cpu')
    monkeypatch.setitem(restorer._fitting._opened, 'torch', full)
    with pytest.raises(MemoryError, match='CUDA out of memory'):
        restorer(np.zeros((64, 64, 3), np.uint8))


# Bytes per pixel, measured on an NVIDIA H200 with 1024 x 1024 pixels (512 x 512 at width 64).
@pytest.mark.parametrize(
    ('num_feat', 'preset', 'dtype', 'measured'),
    [
        (16, 'paper', 'float32', 697),
        (16, 'paper', 'float16', 360.5),
        (64, 'paper', 'float32', 2707),
        (64, 'paper', 'float16', 1358),
        (16, 'fast', 'float32', 1065),
        (16, 'fast', 'float16', 673),
    ],
)
def test_estimated_memory_on_a_gpu_equals_the_measured_one(num_feat, preset, dtype, measured):
    network = CSRGenerator(num_feat=num_feat, preset=preset)
    assert measured <= bytes_per_pixel(network, 'torch', dtype, 'cuda:0') <= 1.75 * measured


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_tiles_respect_the_memory_limit(generator, dtype):
    image = np.zeros((800, 1000, 3), dtype)
    restorer = Restorer(generator, memory=26 << 20)
    restorer._fitting._opened['frugal'] = np.copy  # only numpy's memory is traced
    tracemalloc.start()
    try:
        restorer(image)
        assert tracemalloc.get_traced_memory()[1] < restorer._fitting.memory
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('engine', ['torch', pytest.param('openvino', marks=pytest.mark.heavy)])
def test_tiles_of_the_fast_preset_are_exact(lively_generator, caplog, engine):
    generator = lively_generator(preset='fast')
    image = np.ascontiguousarray(data.astronaut()[:300, 20:470])
    ample = Restorer(generator, engine)
    scarce = Restorer(generator, engine, memory=256 * 256 * ample._fitting._bytes_per_pixel(engine))
    assert np.abs(ample(image).astype(int) - image).mean() > 1
    assert np.abs(scarce(image).astype(int) - ample(image)).max() <= (0 if engine == 'torch' else 1)
    assert not caplog.records


def test_tiles_are_blended():
    """Shifts between tiles are blended over the overlap, so that there is no visible edge."""
    images = (data.astronaut()[:192, :416].transpose(2, 0, 1)[None] / 255).astype(np.float32)
    tiled = restore_in_tiles(lambda tile: tile - tile.mean(), images, multiple=32, size=256, overlap=96)
    shifts = (tiled - images)[0, 0, 0]
    (_, stop, _), (start, *_) = spans(416, 32, 256, 96)
    step = abs(images[..., :stop].mean() - images[..., start:].mean())
    assert step > 8 / 255  # without blending, it would be visible
    assert abs(shifts[-1] - shifts[0]) == pytest.approx(step, rel=1e-3)
    assert np.abs(np.diff(shifts)).max() < step / 96 + 1e-6


@pytest.mark.parametrize('margin', [0, 12])
@pytest.mark.parametrize('length', [10, 64, 65, 100, 127, 128, 129, 160, 161, 1000])
def test_spans_cover_everything_once(length, margin):
    total = np.zeros(length)
    for start, stop, weights in spans(length, 32, 128, 32, margin):
        assert stop - start <= 128
        assert start % 32 == 0
        if start:
            assert not weights[:margin].any()
        total[start:stop] += weights
    np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_tiles_of_a_pointwise_operation_are_exact():
    images = np.random.default_rng(0).random((1, 3, 100, 230), np.float32)
    tiled = restore_in_tiles(lambda x: x * 2, images, multiple=32, size=64, overlap=32)
    np.testing.assert_allclose(tiled, images * 2, rtol=1e-5)


def restore(*arguments):
    return main(['restore', *map(str, arguments)])


@pytest.fixture
def folder(tmp_path, photo):
    """A folder with three images, one of them in a subfolder, and with other and hidden files."""
    for name in ('a.png', 'b.jpg', 'deep/c.png', '.thumbnails/a.png'):
        write_photograph(tmp_path / 'in' / name, Photograph(photo))
    (tmp_path / 'in/notes.txt').write_text('no image')
    (tmp_path / 'in/.hidden.png').write_text('half-written')
    return tmp_path / 'in'


def results(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_folder(folder, weights, generator, photo, tmp_path, capsys):
    assert restore('-i', folder, '-o', tmp_path / 'out', '-w', weights) == 0
    assert results(tmp_path / 'out') == ['a.png', 'b.jpg', 'deep/c.png']
    restored = read_photograph(tmp_path / 'out/a.png', 10**6).pixels
    assert np.array_equal(restored, Restorer(generator)(photo))
    assert capsys.readouterr().out.splitlines() == [
        'left out, neither images nor videos by their names: 1 (.txt)',
        f'3 restored, 0 already done, 0 failed; results: {tmp_path / "out"}',
    ]


def test_every_suffix_of_an_image_is_found(weights, tmp_path, photo):
    (tmp_path / 'in').mkdir()
    suffixes = ['jfif', 'jpe', 'ppm', *(['avif'] if features.check('avif') else [])]
    for suffix in suffixes:
        Image.fromarray(photo).save(tmp_path / f'in/{suffix}.{suffix}')
    assert restore('-i', tmp_path / 'in', '-o', tmp_path / 'out', '-w', weights) == 0
    kept = {'avif': 'avif'}  # other formats cannot be written
    assert results(tmp_path / 'out') == sorted(f'{suffix}.{kept.get(suffix, "png")}' for suffix in suffixes)


def test_linked_and_unreadable_folders(folder, weights, tmp_path, photo, capsys, monkeypatch):
    write_photograph(tmp_path / 'elsewhere/d.png', Photograph(photo))
    (folder / 'link').symlink_to(tmp_path / 'elsewhere')

    def scan(path, scandir=os.scandir):
        if path == str(folder / 'deep'):
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr('os.scandir', scan)
    assert restore('-i', folder, '-o', tmp_path / 'out', '-w', weights) == 1
    captured = capsys.readouterr()
    assert '3 restored, 0 already done, 1 failed' in captured.out
    assert f'failed: {folder}/deep cannot be searched (Permission denied)' in captured.err
    assert results(tmp_path / 'out') == ['a.png', 'b.jpg', 'link/d.png']


def test_glob_format_and_sheet(folder, weights, tmp_path, photo):
    out = tmp_path / 'out'
    assert restore('-i', folder / '**/*.png', '-o', out, '-w', weights, '--format', 'webp', '--sheet') == 0
    assert results(out) == ['a.webp', 'a_sheet.webp', 'deep/c.webp', 'deep/c_sheet.webp']
    sheet = read_photograph(out / 'a_sheet.webp', 10**6).pixels
    assert sheet.shape == (photo.shape[0], 2 * photo.shape[1], 3)
    assert np.abs(sheet[:, : photo.shape[1]].astype(int) - photo).mean() < 12


def test_unreadable_files_are_listed_and_do_not_stop_the_command(folder, weights, tmp_path, capsys):
    (folder / 'aa.png').touch()
    (folder / 'zz.jpg').write_bytes((folder / 'b.jpg').read_bytes()[:1500])
    assert restore('-i', folder, '-o', tmp_path / 'out', '-w', weights) == 1
    captured = capsys.readouterr()
    assert '3 restored, 0 already done, 2 failed' in captured.out
    assert f'failed: {folder}/aa.png is empty (0 bytes)' in captured.err
    assert f'failed: {folder}/zz.jpg is damaged or truncated' in captured.err
    assert results(tmp_path / 'out') == ['a.png', 'b.jpg', 'deep/c.png']


def test_a_folder_without_results_is_not_left_behind(weights, tmp_path):
    (tmp_path / 'a.png').touch()
    assert restore('-i', tmp_path / 'a.png', '-o', tmp_path / 'new/out', '-w', weights) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != weights.name] == ['a.png']


def test_resume(folder, weights, tmp_path, capsys):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'a.png').write_text('done')
    assert restore('-i', folder, '-o', out, '-w', weights, '--resume') == 0
    assert '2 restored, 1 already done, 0 failed' in capsys.readouterr().out
    assert (out / 'a.png').read_text() == 'done'


@pytest.mark.parametrize('link', [False, True])
@pytest.mark.parametrize('pattern', ['', '*.png'])
def test_nothing_is_overwritten(folder, weights, tmp_path, capsys, link, pattern):
    before = {path: path.read_bytes() for path in folder.rglob('*.*') if path.is_file()}
    output = tmp_path / 'link' if link else folder
    if link:
        output.symlink_to(folder)
    assert restore('-i', folder / pattern, '-o', output, '-w', weights) == 1
    captured = capsys.readouterr()
    assert '0 restored' in captured.out
    assert captured.err.count('would be overwritten by its own result') == (1 if pattern else 3)
    assert {path: path.read_bytes() for path in folder.rglob('*.*') if path.is_file()} == before


def test_output_may_be_a_parent_of_the_input(folder, weights, tmp_path):
    assert restore('-i', folder / 'deep', '-o', tmp_path, '-w', weights) == 0
    assert (tmp_path / 'c.png').exists()


def test_output_inside_the_input_is_not_restored_again(folder, weights, monkeypatch):
    monkeypatch.chdir(folder)
    for output in ('out', folder / 'out', '../in/out'):
        assert restore('-i', '.', '-o', output, '-w', weights) == 0
    assert results(folder / 'out') == ['a.png', 'b.jpg', 'deep/c.png']


def test_two_images_with_one_result_keep_their_suffixes(folder, weights, tmp_path, capsys, photo):
    write_photograph(folder / 'a.webp', Photograph(photo[:64, :64]))
    assert restore('-i', folder, '-o', tmp_path / 'out', '-w', weights, '--format', 'png') == 0
    assert '4 restored, 0 already done, 0 failed' in capsys.readouterr().out
    assert results(tmp_path / 'out') == ['a.png', 'a.webp.png', 'b.png', 'deep/c.png']
    assert read_photograph(tmp_path / 'out/a.webp.png', 10**6).pixels.shape == (64, 64, 3)


def test_a_sheet_does_not_overwrite_a_result(folder, weights, tmp_path, capsys, photo):
    write_photograph(folder / 'a_sheet.png', Photograph(photo))
    assert restore('-i', folder, '-o', tmp_path / 'out', '-w', weights, '--sheet') == 1
    captured = capsys.readouterr()
    assert '3 restored, 0 already done, 1 failed' in captured.out
    assert f'failed: {folder}/a_sheet.png has the same result file as {folder}/a.png' in captured.err


def test_unusual_file_names(tmp_path, weights, photo, capsys):
    names = ['two words.png', 'ünïcode 写真.png', '-dash.png', '[a]*.png', 'a\nb.png', f'{"x" * 251}.png']
    for name in names:
        write_photograph(tmp_path / 'in' / 'a.png', Photograph(photo))
        (tmp_path / 'in/a.png').rename(tmp_path / 'in' / name)
    (tmp_path / 'in' / 'c\nd.png').touch()
    assert restore('-i', tmp_path / 'in', '-o', tmp_path / 'out', '-w', weights) == 1
    assert results(tmp_path / 'out') == sorted(names)
    assert r"/in/c\nd.png' is empty" in capsys.readouterr().err


def test_other_files_than_regular_ones(folder, weights, tmp_path, capsys):
    """Special files are not read, nothing is found twice, and folders are not images."""
    os.mkfifo(folder / 'pipe.png')
    os.mkfifo(folder / 'pipe.mp4')
    (folder / 'loop').symlink_to('.')
    (folder / 'to_itself.png').symlink_to('to_itself.png')
    (folder / 'to_nothing.png').symlink_to('nothing.png')
    (folder / 'a_folder.png').mkdir()
    for pattern in (folder, folder / '**/*'):
        assert restore('-i', pattern, '-o', tmp_path / 'out', '-w', weights) == 1
        captured = capsys.readouterr()
        assert '3 restored, 0 already done' in captured.out
        for problem in ('pipe.png is not a regular file', 'pipe.mp4 is not a regular file',
                        'to_itself.png cannot be read (Too many levels of symbolic links)',
                        'to_nothing.png cannot be read (No such file or directory)'):  # fmt: skip
            assert f'failed: {folder}/{problem}' in captured.err
        assert 'a_folder' not in captured.err


def test_full_disk(folder, weights, tmp_path, capsys, full_disk, photo):
    write_video(tmp_path / 'in/v.mp4', photo, frames=20)
    write_photograph(folder / 'small.png', Photograph(np.zeros((64, 64, 3), np.uint8)))
    full_disk()
    assert restore('-i', folder, '-o', tmp_path / 'out', '-w', weights) == 1
    captured = capsys.readouterr()
    assert '1 restored, 0 already done, 4 failed' in captured.out
    assert captured.err.count('cannot be written (File too large)') == 4
    assert results(tmp_path / 'out') == ['small.png']


def test_two_runs_at_the_same_time(folder, weights, tmp_path, monkeypatch):
    """With --resume, results of another run are kept, and temporary files are not shared."""
    out = tmp_path / 'out'
    done = []

    def restore_beside_another(restorer, source, target, **_):
        done.append(target.name)
        (out / 'b.jpg').write_text('of the other run')

    monkeypatch.setattr('hifacegan_plugin.commands.restore.restore_image_file', restore_beside_another)
    assert restore('-i', folder, '-o', out, '-w', weights, '--resume') == 0
    assert done == ['a.png', 'c.png']
    with whole_file(out / 'a.png') as mine, whole_file(out / 'a.png') as theirs:
        assert mine != theirs
        mine.touch()
        theirs.touch()


def test_errors_without_a_message_are_named(tmp_path):
    (tmp_path / 'a.png').touch()

    def run_out_of_memory(source, target):
        raise MemoryError

    failure = attempt(Task(tmp_path / 'a.png', tmp_path / 'b.png'), run_out_of_memory)
    assert failure == (tmp_path / 'a.png', 'MemoryError')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['-i', 'nowhere', '-o', 'out'], 'nowhere: no such file or folder'),
        (['-i', 'no*', '-o', 'out'], 'no*: no image or video found'),
        (['-i', 'a.png', '-o', 'a.png'], 'a.png would be overwritten by its own result'),
        (['-i', 'a.png', '-o', 'link.png'], 'link.png would be overwritten by its own result'),
        (['-i', 'a.png', '-o', 'a.png/b'], 'b cannot be the output folder (Not a directory)'),
        (['-i', 'a.png', '-o', 'text'], 'text cannot be the output folder (File exists)'),
        (['-i', '.', '-o', 'b.png'], 'b.png names a file, but . may match several'),
        (['-i', '*.png', '-o', 'b.png'], 'b.png names a file, but *.png may match several'),
        (['-i', 'a.png', '-o', 'b.gif'], 'b.gif: the result of one image must end in one of .png, .jpg'),
        (['-i', 'a.png', '-o', 'b.mp4'], 'b.mp4: the result of one image must end in one of .png'),
        (['-i', 'a.mp4', '-o', 'b.png'], 'b.png: the result of one video must end in one of .mp4'),
        (['-i', 'a.png', '-o', 'b.png', '--format', 'jpg'], 'b.png and --format jpg contradict each other'),
        (['-i', 'a.png', '-o', 'out', '--device', 'tpu'], "device 'tpu': choose auto, cpu, cuda"),
        (['-i', 'a.png', '-o', 'out', '--device', 'cuda:7'], 'device cuda:7: torch'),
    ],
)
def test_invalid_arguments_are_reported(weights, tmp_path, photo, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    write_photograph(tmp_path / 'a.png', Photograph(photo))
    (tmp_path / 'link.png').symlink_to('a.png')
    for name in ('a.mp4', 'text'):
        (tmp_path / name).touch()
    before = sorted(tmp_path.iterdir())
    assert restore(*options, '-w', weights) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('name', ['b.png', 'new/b.JPEG'])
def test_one_file_into_a_file(weights, generator, tmp_path, photo, name):
    source, target = tmp_path / 'a.png', tmp_path / name
    write_photograph(source, Photograph(photo))
    for _ in range(2):  # the second run replaces the result
        assert restore('-i', source, '-o', target, '-w', weights, '--sheet') == 0
    with Image.open(target) as image:
        assert image.format == ('PNG' if name == 'b.png' else 'JPEG')
        assert np.abs(np.asarray(image).astype(int) - Restorer(generator)(photo)).mean() < 4
    assert {target.name, f'b_sheet{target.suffix}'} == set(results(target.parent)) - {'a.png'}


def test_a_folder_may_have_the_name_of_a_file(folder, weights, tmp_path):
    (tmp_path / 'out.png').mkdir()
    assert restore('-i', folder / 'a.png', '-o', tmp_path / 'out.png', '-w', weights) == 0
    assert results(tmp_path / 'out.png') == ['a.png']


@pytest.mark.parametrize('option', ['--threads', '--memory', '--max-megapixels'])
@pytest.mark.parametrize('value', ['-1', '0', 'inf', 'nan', 'many'])
def test_invalid_numbers_are_refused(folder, tmp_path, capsys, option, value):
    with pytest.raises(SystemExit, match='2'):
        restore('-i', folder, '-o', tmp_path / 'out', f'{option}={value}')
    assert re.search(rf"argument {option}: '{value}': expected a (whole )?number", capsys.readouterr().err)


@pytest.mark.parametrize('engine', ['onnx', 'openvino'])
def test_a_full_temporary_folder_is_reported(folder, weights, tmp_path, capsys, engine, full_disk):
    full_disk()
    assert restore('-i', folder, '-o', tmp_path / 'out', '-w', weights, '--engine', engine) == 2
    assert re.search(f'restore: engine {engine}: .* set TMPDIR', capsys.readouterr().err)


def test_bad_weights(folder, tmp_path, capsys):
    (tmp_path / 'bad.pth').write_text('nonsense')
    for weights, message in ((tmp_path / 'bad.pth', 'damaged or not a weights file'), (tmp_path, 'is a folder')):
        assert restore('-i', folder, '-o', tmp_path / 'out', '-w', weights) == 2
        assert message in capsys.readouterr().err


def test_weights_without_a_known_norm(lively_generator, folder, tmp_path):
    """``--norm`` sets it; here, the network was trained with ``rms``, but the file does not contain the norm."""
    network = lively_generator(norm='rms')
    write_weights(tmp_path / 'net_g.safetensors', without_markers(network.state_dict()), {})
    arguments = ('-i', folder / 'a.png', '-w', tmp_path / 'net_g.safetensors', '-o')
    assert restore(*arguments, tmp_path / 'rms.png', '--norm', 'rms') == restore(*arguments, tmp_path / 'b.png') == 0
    expected = Restorer(network)(folder / 'a.png').astype(int)
    assert np.abs(read_photograph(tmp_path / 'rms.png', 10**6).pixels - expected).max() <= 1
    assert np.abs(read_photograph(tmp_path / 'b.png', 10**6).pixels - expected).max() > 9


def test_processes_share_the_files(folder, weights, tmp_path):
    """Each file is restored once, and an unreadable file does not stop the other processes."""
    (folder / 'aa.png').touch()  # assigned to the second process
    command = ['torch.distributed.run', '--standalone', '--nproc_per_node=2', '-m', 'hifacegan_plugin', 'restore']
    finished = subprocess.run(
        [sys.executable, '-m', *command, '-i', folder, '-o', tmp_path / 'out', '-w', weights],
        capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert '3 restored, 0 already done, 1 failed' in finished.stdout, finished.stderr
    assert f'failed: {folder}/aa.png is empty (0 bytes)' in finished.stderr
    assert finished.returncode == 0  # for another status, torchrun would print a traceback
    assert 'Traceback' not in finished.stderr
    assert results(tmp_path / 'out') == ['a.png', 'b.jpg', 'deep/c.png']


def write_video(path, photo, frames, codec='mp4v'):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, photo.shape[1::-1])
    if not writer.isOpened():
        pytest.skip('this build of OpenCV cannot write videos')
    for shift in range(frames):
        writer.write(np.roll(photo, shift * 5, 1)[..., ::-1])
    writer.release()


def test_video(weights, generator, tmp_path, photo):
    write_video(tmp_path / 'a.mp4', photo, frames=3)
    (tmp_path / 'b.mp4').write_text('no video')
    assert restore('-i', tmp_path / '*.mp4', '-o', tmp_path / 'out', '-w', weights) == 1
    assert results(tmp_path / 'out') == ['a.mp4']
    source, result = (cv2.VideoCapture(str(path)) for path in (tmp_path / 'a.mp4', tmp_path / 'out/a.mp4'))
    assert result.get(cv2.CAP_PROP_FPS) == 25
    for _ in range(3):
        frame = source.read()[1][..., ::-1]
        wanted = Restorer(generator)(np.ascontiguousarray(frame))
        assert np.abs(result.read()[1][..., ::-1].astype(int) - wanted).mean() < 8  # due to compression
    assert not result.read()[0]


def test_the_host_and_mmcv_are_not_imported():
    """Restoring does not import BasicSR, which takes seconds, nor PyAV if there is no video."""
    code = (
        'import sys\n'
        'from hifacegan_plugin.commands import convert, export, restore\n'
        'print([name for name in ("av", "basicsr", "mmcv", "mmengine", "torchvision") if name in sys.modules])'
    )
    output = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == '[]'
