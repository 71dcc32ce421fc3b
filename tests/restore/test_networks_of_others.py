"""Tests of restoring with other networks, including networks that enlarge images."""

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph
from hifacegan_plugin.restore import Restorer
from hifacegan_plugin.restore.engines.devices import EngineError
from hifacegan_plugin.restore.engines.footprint import bytes_per_pixel
from hifacegan_plugin.restore.engines.held_memory import WORKSPACES, measure_bytes_per_pixel
from hifacegan_plugin.restore.engines.tiles import restore_in_tiles
from hifacegan_plugin.weights import load_network, recognised

pytest.importorskip('spandrel', reason='needs the spandrel extra')


def enlarged(network, image, peak=255):
    x = torch.from_numpy(image[..., :3].transpose(2, 0, 1).astype(np.float32))[None] / peak
    with torch.no_grad():
        return peak * network(x).clamp(0, 1)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize('depth', [np.uint8, np.uint16])
def test_images_of_all_kinds_are_enlarged(enlarger, depth):
    network, file = enlarger
    restorer = Restorer(file)
    assert restorer.scale == 2
    peak = np.iinfo(depth).max
    image = data.astronaut()[100:140, 200:252].astype(depth) * (peak // 255)
    expected = enlarged(network, image, peak)
    assert expected.std() > peak / 50

    restored = restorer(image)
    assert restored.dtype == depth and np.abs(restored - expected).max() <= 0.5 + 1e-4 * peak
    with_alpha = restorer(np.dstack([image, np.full(image.shape[:2], peak // 3, depth)]))
    assert np.array_equal(with_alpha[..., :3], restored) and (with_alpha[..., 3] == peak // 3).all()
    grey = restorer(image[..., 0])
    assert grey.shape == (80, 104) and restorer(image[..., :1]).shape == (80, 104, 1)


def test_tensors_are_enlarged(enlarger):
    network, file = enlarger
    restorer, images = Restorer(file), torch.rand(2, 4, 20, 28)
    restored = restorer(images)
    assert restored.shape == (2, 4, 40, 56)
    assert torch.equal(restorer(images[1]), restored[1])
    with torch.no_grad():
        assert torch.allclose(restored[:, :3], network(images[:, :3]).clamp(0, 1), atol=1e-5)
    assert restorer(torch.rand(3, 21, 30)).shape == (3, 42, 60)  # padded to a multiple of 4


def test_alpha_of_tensors_and_arrays_is_enlarged_alike(enlarger):
    restorer, image = Restorer(enlarger[1]), np.random.default_rng(0).integers(0, 256, (20, 28, 4), np.uint8)
    restored = restorer(torch.from_numpy(image).permute(2, 0, 1))
    assert np.array_equal(restored.permute(1, 2, 0)[..., 3], restorer(image)[..., 3])


def test_tiles_of_a_network_that_enlarges():
    images = np.random.default_rng(0).random((1, 3, 300, 410), np.float32)

    def twice(tile):
        return tile.repeat(2, 2).repeat(2, 3)

    tiled = restore_in_tiles(twice, images, multiple=4, size=128, overlap=32, scale=2)
    assert np.allclose(tiled, twice(images), atol=1e-6)


def test_large_images_are_restored_in_tiles(enlarger, caplog):
    _, file = enlarger
    image = data.astronaut()[:208, :200]
    whole = Restorer(file)(image)
    assert not caplog.messages
    per_pixel = bytes_per_pixel(load_network(file), 'torch', 'float32', 'cpu')
    tiled = Restorer(file, memory=150 * 150 * per_pixel)(image)
    assert 'restoring tiles of 192 x 192' in caplog.text
    assert np.abs(tiled.astype(int) - whole).mean() < 1


def test_estimated_memory():
    chain = nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in [(3, 64), (64, 16), (16, 48)]))
    # The image exists before; at most two maps are held at a time.
    assert measure_bytes_per_pixel(chain, 3, 32) == pytest.approx(WORKSPACES * 4 * (64 + 16), abs=1)


def test_unsupported_engines_and_precisions_are_reported(enlarger):
    network, file = enlarger
    with pytest.raises(EngineError, match='engine onnx: runs HiFaceGAN only, and this is ESRGAN'):
        Restorer(file, engine='onnx')
    swinir = load_network(file)
    swinir.dtypes = [torch.float32]
    with pytest.raises(EngineError, match='dtype bfloat16: ESRGAN computes in float32'):
        Restorer(swinir, dtype='bfloat16')
    image = data.astronaut()[100:140, 200:252]
    in_half = Restorer(file, dtype='bfloat16')
    assert in_half.engine == 'torch'
    assert np.abs(in_half(image) - enlarged(network, image)).mean() < 5


def test_networks_of_a_fixed_size_refuse_other_sizes(enlarger, monkeypatch):
    monkeypatch.setitem(recognised.ONLY_SIDES, 'ESRGAN', 64)
    restorer = Restorer(enlarger[1], memory=1)
    assert restorer(data.astronaut()[:64, :64]).shape == (128, 128, 3)
    for shape in ((40, 64), (128, 128)):  # neither padded nor divided into tiles
        with pytest.raises(
            ValueError, match=rf'faces of 64x64 pixels, and this image has {shape[1]}x{shape[0]}: align'
        ):
            restorer(data.astronaut()[: shape[0], : shape[1]])


def test_networks_of_a_fixed_size_go_to_the_cpu_if_a_gpu_is_full(enlarger, monkeypatch, caplog):
    monkeypatch.setitem(recognised.ONLY_SIDES, 'ESRGAN', 64)
    restorer, image = Restorer(enlarger[1], device='cpu', memory=1), data.astronaut()[:64, :64]
    expected = restorer(image)

    def full(images, **options):
        raise torch.OutOfMemoryError('CUDA out of memory.')

    monkeypatch.setitem(restorer._fitting._opened, 'torch', full)
    with pytest.raises(MemoryError):  # there is no slower way on the CPU
        restorer(image)
    monkeypatch.setattr(restorer._fitting, 'device', 'cuda:0')
    assert np.array_equal(restorer(image), expected)
    assert 'restoring on the CPU' in caplog.text


def test_the_command_enlarges_and_reports_it(enlarger, tmp_path, capsys):
    network, file = enlarger
    source, out = tmp_path / 'source', tmp_path / 'out'
    source.mkdir()
    image = data.astronaut()[100:140, 200:252]
    write_photograph(source / 'a.png', Photograph(image, dpi=(300, 300)))
    (source / 'video.mp4').write_bytes(b'any')
    command = ['restore', '-i', str(source), '-o', str(out), '-w', str(file)]
    assert main([*command, '--sheet']) == 1
    printed = capsys.readouterr()
    assert 'x2.pth upscales: the results are 2 times as wide and as high' in printed.out
    assert 'video.mp4 is a video, which cannot be upscaled' in printed.err
    written = read_photograph(out / 'a.png', 10**6)
    assert np.abs(written.pixels - enlarged(network, image)).max() <= 0.51
    assert written.dpi == pytest.approx((300, 300), abs=0.1)
    sheet = cv2.imread(str(out / 'a_sheet.png'))[..., ::-1]
    assert np.array_equal(sheet[:, :104], image.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(sheet[:, 104:], written.pixels)

    assert main([*command[:-3], str(tmp_path / 'mixed'), '-w', str(file), '--strength', '0.5']) == 1
    mixed = read_photograph(tmp_path / 'mixed/a.png', 10**6).pixels
    bicubic = cv2.resize(image, (104, 80), interpolation=cv2.INTER_CUBIC)
    assert np.abs(mixed - (bicubic + written.pixels.astype(float)) / 2).max() <= 2

    torch.save(nn.Linear(3, 3).state_dict(), tmp_path / 'unknown.pth')
    assert main([*command[:-1], str(tmp_path / 'unknown.pth')]) == 2
    assert 'unknown.pth: these are not weights of a HiFaceGAN generator, nor' in capsys.readouterr().err
