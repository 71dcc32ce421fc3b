"""Tests of degradations of batches with torch, compared with the numpy steps."""

import sys

import cv2
import numpy as np
import pytest
import torch
from conftest import REPOSITORY

from hifacegan_plugin.data.degradations import build_degradation
from hifacegan_plugin.data.degradations.blur import motion_kernel

sys.path.insert(0, str(REPOSITORY / 'benchmarks'))

from pretrained_parts import batch_degradations as on_device

SIDE = 96
UNCHANGED_COLOUR = {'type': 'ColourJitter', 'brightness': 1, 'contrast': 1, 'saturation': 1, 'hue': 0}


@pytest.fixture(scope='module')
def images():
    """Smooth images with an edge and some texture, (8, 3, 96, 96), rounded to 0 to 255."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 236, (8, 6, 6, 3)).astype(np.uint8)
    smooth = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for image in coarse])
    smooth[:, 30:60, 40:] //= 2
    textured = np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).round()
    return torch.from_numpy(textured.transpose(0, 3, 1, 2)).float()


def numpy_images(images):
    return images.numpy().transpose(0, 2, 3, 1).astype(np.uint8)


def mean_square(difference):
    return float(np.square(np.asarray(difference, dtype=np.float64)).mean())


@pytest.mark.parametrize('quality', [10, 35, 60, 95])
def test_jpeg_is_close_to_opencvs(images, quality):
    degraded = on_device.compress(images, torch.full((8,), quality), subsampled=True)
    for image, ours in zip(numpy_images(images), numpy_images(degraded), strict=True):
        encoded = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        theirs = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
        lost = mean_square(theirs.astype(float) - image)
        assert mean_square(ours.astype(float) - theirs) < 0.05 * lost + 2


@pytest.mark.parametrize(
    ('ours', 'recipe'),
    [
        (on_device.gaussian_blur((3, 3)), {'type': 'GaussianBlur', 'sigma': 3}),
        (on_device.mosaic(16), {'type': 'Mosaic', 'block': 16}),
        (on_device.colour_jitter((0.7, 0.7), (1, 1), (1, 1)), {**UNCHANGED_COLOUR, 'brightness': 0.7}),
        (on_device.colour_jitter((1, 1), (1.4, 1.4), (1, 1)), {**UNCHANGED_COLOUR, 'contrast': 1.4}),
        (on_device.colour_jitter((1, 1), (1, 1), (0.3, 0.3)), {**UNCHANGED_COLOUR, 'saturation': 0.3}),
        (
            on_device.down_and_back((5, 5), ['bicubic'], ['bicubic']),
            {'type': 'ResizeBack', 'steps': [{'type': 'Resize', 'ratio': 0.2, 'interpolation': 'cubic'}]},
        ),
        (
            on_device.down_and_back((2.5, 2.5), ['bilinear'], ['bilinear']),
            {
                'type': 'ResizeBack',
                'interpolation': 'linear',
                'steps': [{'type': 'Downsample', 'factor': 2.5, 'interpolation': 'linear'}],
            },
        ),
        (
            on_device.down_and_back((4, 4), ['area'], ['bicubic']),
            {'type': 'ResizeBack', 'steps': [{'type': 'Resize', 'ratio': 0.25, 'interpolation': 'area'}]},
        ),
    ],
)
def test_deterministic_degradations_equal_numpys(images, ours, recipe):
    degraded = numpy_images(ours(images, np.random.default_rng(0)))
    step = build_degradation(recipe)
    for image, result in zip(numpy_images(images), degraded, strict=True):
        expected = step(image, np.random.default_rng(0))
        assert np.abs(result.astype(int) - expected).max() <= 2  # one for the rounding of each resize


@pytest.mark.parametrize(
    ('ours', 'recipe'),
    [
        (on_device.gaussian_noise((25, 25)), {'type': 'GaussianNoise', 'sigma': 25}),
        (on_device.gaussian_noise((25, 25), grey=1), {'type': 'GaussianNoise', 'sigma': 25, 'grey': 1}),
        (on_device.shot_noise((2, 2)), {'type': 'ShotNoise', 'scale': 2}),
        (on_device.paper_noise, 'noise'),
        (on_device.motion_blur((10, 20)), 'blur'),
        (on_device.colour_shift((-20, 20)), {'type': 'ColourShift'}),
    ],
)
def test_random_degradations_are_as_strong_as_numpys(images, ours, recipe):
    """The mean squared change over many draws equals that of the numpy step."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    if recipe == 'blur':
        recipe = {'type': 'MotionBlur', 'size': [10, 20]}
    step = build_degradation(recipe)
    ours_changes = [mean_square(ours(images, rng) - images) for _ in range(30)]
    theirs = [mean_square(step(image, rng).astype(float) - image) for image in numpy_images(images) for _ in range(30)]
    assert np.mean(ours_changes) == pytest.approx(np.mean(theirs), rel=0.06)


def test_motion_kernels_equal_numpys(monkeypatch):
    """Blur an impulse to get the kernel, and draw the same parameters again."""
    impulse = torch.zeros(4, 3, 63, 63)
    impulse[..., 31, 31] = 255 * 100
    monkeypatch.setattr(on_device, 'rounded', lambda images: images)
    torch.manual_seed(3)
    blurred = on_device.motion_blur((10, 20))(impulse, np.random.default_rng(0))
    torch.manual_seed(3)
    radius = torch.randint(5, 10, (4,)).tolist()
    angle = torch.empty(4).uniform_(0, 2 * np.pi).tolist()
    direction = torch.empty(4).uniform_(-1, 1).tolist()
    for i in range(4):
        kernel = motion_kernel(2 * radius[i] + 1, np.degrees(angle[i]), direction[i])
        expected = np.zeros((63, 63))
        expected[31 - radius[i] : 32 + radius[i], 31 - radius[i] : 32 + radius[i]] = kernel[::-1, ::-1]  # a correlation
        np.testing.assert_allclose(blurred[i, 0] / 25500, expected, atol=2e-3)


def test_mixture_follows_its_weights(images):
    """A quarter of the images become black, the others white, and none are lost."""
    degrade = on_device.mixture([(1, lambda x, rng: x * 0), (3, lambda x, rng: x * 0 + 255)])
    rng = np.random.default_rng(0)
    values = torch.cat([degrade(images, rng)[:, 0, 0, 0] for _ in range(200)])
    assert len(values) == 1600
    assert float((values == 0).float().mean()) == pytest.approx(0.25, abs=0.04)


def test_groups_have_separate_draws(images):
    rng = np.random.default_rng(0)
    seen = []

    def remember(part, rng):
        seen.append((len(part), rng.random()))
        return part

    degraded = on_device.in_groups(on_device.sometimes(1, remember), 3)(images, rng)
    assert torch.equal(degraded, images)
    assert [count for count, _ in seen] == [3, 3, 2] and len({draw for _, draw in seen}) == 3
