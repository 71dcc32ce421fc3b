"""Tests of keeping the colours of the input."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph
from hifacegan_plugin.restore import Restorer
from hifacegan_plugin.restore.blending import SIGMA, keep_low_frequencies
from hifacegan_plugin.weights import generator_options, write_weights


@pytest.fixture(scope='module')
def photo():
    return np.ascontiguousarray(data.astronaut()[:200, 100:292])


@pytest.fixture
def generator(lively_generator):
    """The paper's network with random weights, which brightens images and adds a little texture."""
    network = lively_generator(global_residual=True)
    with torch.no_grad():
        network.to_picture.weight.mul_(0.08)
        network.to_picture.bias.fill_(0.1)
    return network


def fine(image):
    """Return the fine details of an image, computed with SciPy."""
    image = image.astype(float)
    return image - gaussian_filter(image, (SIGMA, SIGMA, 0), mode='reflect', truncate=4)


@pytest.mark.parametrize('of', ['colours', 'grey', 'flat grey'])
def test_means_come_from_the_input_and_details_from_the_result(generator, photo, of):
    image = {'colours': photo, 'grey': photo[..., 1], 'flat grey': np.full((80, 70), 128, np.uint8)}[of]
    image = image // 2 + 40  # clipping at black and white would change means
    plain, kept = Restorer(generator)(image), Restorer(generator, keep_colour=True)(image)
    assert kept.dtype == np.uint8 and kept.shape == image.shape
    assert np.abs(kept.mean((0, 1)) - image.mean((0, 1))).max() < 1
    if of == 'colours':
        assert np.abs(plain.mean((0, 1)) - image.mean((0, 1))).max() > 5  # the network changes colours
        assert np.abs(fine(kept) - fine(plain)).mean() < 1 < np.abs(fine(image) - fine(plain)).mean()


@pytest.mark.parametrize('shape', [(2, 3, 70, 64), (1, 1, 5, 300), (1, 3, 1, 1)])
def test_low_frequencies_are_exchanged(shape):
    rng = np.random.default_rng(0)
    images, restored = rng.random(shape, np.float32), rng.random(shape, np.float32)
    expected = restored.astype(float)
    for low, sign in ((images, 1), (restored, -1)):
        expected += sign * gaussian_filter(
            low.astype(float), (0, 0, SIGMA, SIGMA), mode='reflect', radius=(0, 0, 64, 64)
        )
    keep_low_frequencies(restored, images)
    np.testing.assert_allclose(restored, expected, atol=2e-4)
    np.testing.assert_allclose(restored.mean((2, 3)), images.mean((2, 3)), atol=1e-5)


def test_the_command_keeps_colours(generator, photo, tmp_path):
    write_photograph(tmp_path / 'photo.png', Photograph(photo))
    write_weights(tmp_path / 'net_g.safetensors', generator.state_dict(), generator_options(generator))
    options = ['-i', tmp_path / 'photo.png', '-o', tmp_path / 'out', '-w', tmp_path / 'net_g.safetensors']
    assert main(['restore', *map(str, options), '--keep-colour']) == 0
    restored = read_photograph(tmp_path / 'out/photo.png', 1_000_000).pixels
    assert np.array_equal(restored, Restorer(generator, keep_colour=True)(photo))
