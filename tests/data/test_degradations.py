"""Tests of degradation steps, compared with the reference's statistics, SciPy, Pillow and NumPy."""

import io
import json
import os
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import skimage.data
import torch
import torchvision
from basicsr.data import degradations as host
from conftest import REPOSITORY
from PIL import Image

from hifacegan_plugin.data.degradations import DEGRADATIONS, RECIPES, build_degradation, fit, make_generator
from hifacegan_plugin.data.degradations.blur import convolve, motion_kernel

LEAF_STEPS = sorted(name for name, step in DEGRADATIONS.module_dict.items() if 'steps' not in step.__dataclass_fields__)


@pytest.fixture(scope='module')
def astronaut():
    return skimage.data.astronaut()


def degrade(image, step, seed=0):
    return build_degradation(step)(image, make_generator(seed))


# ------------------------------------------------------------------------------- statistics of the reference

REFERENCE_RECIPES = {
    'gaussian_noise': {'type': 'GaussianNoise'},
    'laplace_noise': {'type': 'LaplaceNoise'},
    'poisson_noise': {'type': 'PoissonNoise'},
    'motion_blur': {'type': 'MotionBlur'},
    'gaussian_blur': {'type': 'GaussianBlur'},
    'noise': 'noise',
    'blur': 'blur',
    'jpeg': 'jpeg',
    'down_4x_to_8x': 'down',
    'down_4x_to_8x_area_then_cubic': {'type': 'Resize', 'ratio': [1 / 8, 1 / 4], 'interpolation': 'area'},
    'full': 'full',
}


@pytest.mark.parametrize('name', REFERENCE_RECIPES)
def test_statistics_equal_the_reference(name, astronaut, reference_dir):
    expected = json.loads((reference_dir / 'degradation_statistics.json').read_text())['recipes'][name]
    recipe = build_degradation(REFERENCE_RECIPES[name])
    psnr, difference = [], []
    for i in range(200):
        degraded = fit(recipe(astronaut, make_generator(0, i)), *astronaut.shape[:2])
        psnr.append(cv2.PSNR(astronaut, degraded))
        difference.append(np.mean(cv2.mean(degraded)[:3]) - np.mean(cv2.mean(astronaut)[:3]))
    assert np.mean(psnr) == pytest.approx(expected['psnr_mean'], abs=0.3)
    assert np.std(psnr) == pytest.approx(expected['psnr_std'], rel=0.25)
    assert np.mean(difference) == pytest.approx(expected['difference_mean'], abs=0.3)


def test_every_recipe_of_the_reference_is_tested(reference_dir):
    recipes = json.loads((reference_dir / 'degradation_statistics.json').read_text())['recipes']
    assert set(recipes) == set(REFERENCE_RECIPES)


def test_jpeg_recipe_spans_the_encoder_qualities_of_the_reference(reference_dir):
    quality = json.loads((reference_dir / 'degradation_statistics.json').read_text())
    quality = quality['jpeg_compression_to_encoder_quality']
    assert build_degradation('jpeg').steps[0].quality == (quality['85'], quality['50'])


# -------------------------------------------------------------------------------------------------- any step


@pytest.mark.parametrize('name', LEAF_STEPS)
@pytest.mark.parametrize('shape', [(64, 96, 3), (37, 53, 3), (5, 2, 3), (1, 1, 3)])
def test_steps_do_not_change_their_input(name, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image.flags.writeable = False
    degraded = degrade(image, {'type': name})
    assert degraded.dtype == np.uint8 and degraded.ndim == 3 and degraded.shape[2] == 3
    assert degraded.shape == shape or name in ('Resize', 'Downsample')


@pytest.mark.parametrize('name', LEAF_STEPS)
def test_grey_images_are_degraded_like_colour_images(name, astronaut):
    """Results equal a channel of the colour result; noise, which differs by channel, has the same deviation."""
    grey = astronaut[:256, :256, 1:2]
    degraded, in_colour = (degrade(image, {'type': name}) for image in (grey, grey.repeat(3, axis=2)))
    assert degraded.shape == (*in_colour.shape[:2], 1) and degraded.dtype == np.uint8
    if name.endswith('Noise'):
        assert np.std(degraded - grey.astype(int)) == pytest.approx(np.std(in_colour - grey.astype(int)), rel=0.02)
    else:
        assert np.array_equal(degraded, in_colour[..., :1])


@pytest.mark.parametrize('step', ['GaussianNoise', 'ShotNoise'])
def test_grey_noise_on_grey_images(step):
    grey = np.full((64, 64, 1), 100, np.uint8)
    noise = {'type': step, 'grey': 1}
    assert np.array_equal(degrade(grey, noise), degrade(grey.repeat(3, axis=2), noise)[..., :1])


@pytest.mark.parametrize('name', LEAF_STEPS)
def test_steps_use_only_their_generator(name, astronaut):
    step = build_degradation({'type': name})
    image = astronaut[:128, :128]
    np.random.seed(1)
    first = step(image, make_generator(5))
    np.random.seed(2)
    state = np.random.get_state()[1].copy()
    assert np.array_equal(first, step(image, make_generator(5)))
    assert np.array_equal(state, np.random.get_state()[1])


@pytest.mark.parametrize('name', LEAF_STEPS)
def test_logged_parameters_are_in_range_and_reproduce_the_image(name, astronaut):
    step, log = build_degradation({'type': name}), []
    image = astronaut[:64, :64]
    for seed in range(20):
        log.clear()
        degraded = step(image, make_generator(seed), log)
        (entry,) = json.loads(json.dumps(log))
        assert entry.pop('type') == name
        build_degradation({'type': name, **entry})
        rng = make_generator(seed)
        step.draw(rng)
        assert np.array_equal(step.apply(image, rng, **entry), degraded)


SAME_EVERYWHERE = """
import sys, zlib
sys.path[:0] = [{repository!r}]
import skimage.data
from hifacegan_plugin.data.degradations import RECIPES, build_degradation, fit, make_generator
image = skimage.data.astronaut()[:201, :310]
for name in RECIPES:
    recipe = build_degradation(name)
    results = [recipe(image, make_generator(0, name, i)) for i in range(4)]
    print(name, zlib.crc32(b''.join(fit(r, *image.shape[:2]).tobytes() for r in results)))
"""


def test_results_do_not_depend_on_vector_extensions():
    script = SAME_EVERYWHERE.format(repository=str(REPOSITORY))
    lesser = {
        'OPENCV_IPP': 'disabled',
        'OPENCV_CPU_DISABLE': 'AVX512-SKX,AVX512-COMMON,AVX512F,AVX2,FMA3,AVX,SSE4.2,SSE4.1,SSSE3',
        'NPY_DISABLE_CPU_FEATURES': 'AVX512F AVX512CD AVX512_SKX AVX2 FMA3',
        'PYTHONWARNINGS': 'ignore',
    }
    machines = [
        subprocess.Popen(
            [sys.executable, '-c', script],
            env={**os.environ, **env},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for env in ({}, lesser)
    ]
    outputs = [machine.communicate()[0] for machine in machines]
    assert all(name in outputs[0] for name in RECIPES)
    assert outputs[0] == outputs[1]


def test_generators_depend_on_the_image():
    draws = {key: make_generator(*key).random() for key in [(0, 'a'), (0, 'b'), (1, 'a'), (0, 1, 2), (0, 2, 1)]}
    assert len(set(draws.values())) == len(draws)
    assert make_generator(0, 'a').random() == draws[0, 'a']
    # The values of numpy's SFC64, to detect a change of the algorithm.
    assert make_generator(3, 4).random() == np.random.Generator(np.random.SFC64([3, 4])).random()
    assert make_generator(0, 'é').random() == make_generator(0, zlib.crc32('é'.encode())).random()


# ----------------------------------------------------------------------------------------------------- noise

GREY = np.full((256, 256, 3), 128, np.uint8)
NOISES = {
    'GaussianNoise': ({'sigma': 12.5}, scipy.stats.norm(scale=12.5)),
    'LaplaceNoise': ({'scale': 8.0}, scipy.stats.laplace(scale=8)),
}


@pytest.mark.parametrize('name', NOISES)
def test_noise_has_the_named_distribution(name):
    options, expected = NOISES[name]
    noise = degrade(GREY, {'type': name, **options}).astype(int) - 128
    levels = np.arange(-40, 41)
    observed = [(noise <= level).mean() for level in levels]
    # Noise is rounded, so P(noise <= k) is the distribution function at k + 1/2.
    assert np.abs(observed - expected.cdf(levels + 0.5)).max() < 4 * 0.5 / noise.size**0.5


def test_poisson_noise_is_a_count_of_random_sign():
    noise = degrade(GREY, {'type': 'PoissonNoise', 'rate': 17.0}).astype(int) - 128
    levels = np.arange(60)
    observed = [(abs(noise) <= level).mean() for level in levels]
    assert np.abs(observed - scipy.stats.poisson(17).cdf(levels)).max() < 4 * 0.5 / noise.size**0.5
    assert abs(noise.mean()) < 4 * (17**2 + 17) ** 0.5 / noise.size**0.5


@pytest.mark.parametrize('name', ['GaussianNoise', 'LaplaceNoise', 'PoissonNoise'])
def test_noise_values_are_independent(name):
    noise = degrade(GREY, {'type': name}).astype(float) - 128
    noise -= noise.mean()
    limit = 4 / (noise.size / 3) ** 0.5
    for a, b in [
        (noise[..., 0], noise[..., 1]),
        (noise[..., 1], noise[..., 2]),
        (noise[:, 1:], noise[:, :-1]),
        (noise[1:], noise[:-1]),
    ]:
        assert abs((a * b).mean() / noise.var()) < limit


@pytest.mark.parametrize('level', [0, 255])
def test_noise_is_clipped(level):
    noisy = degrade(np.full((64, 64, 3), level, np.uint8), {'type': 'GaussianNoise', 'sigma': 10})
    assert (noisy == level).mean() == pytest.approx(0.5 + 0.5 * 0.04, abs=0.03)
    assert np.abs(noisy.astype(int) - level).max() < 60


def test_shot_noise_counts_photons():
    level = np.full((256, 256, 3), 90, np.uint8)
    noisy = degrade(level, {'type': 'ShotNoise', 'scale': 1.0}).astype(int)
    levels = np.arange(50, 140)
    observed = [(noisy <= n).mean() for n in levels]
    assert np.abs(observed - scipy.stats.poisson(90).cdf(levels)).max() < 4 * 0.5 / noisy.size**0.5 + 2**-12
    assert np.abs(np.corrcoef(noisy.reshape(-1, 3).T) - np.eye(3)).max() < 0.02
    doubled = degrade(level, {'type': 'ShotNoise', 'scale': 2.0}).astype(int)
    assert doubled.std() == pytest.approx(2 * 90**0.5, rel=0.01)
    assert np.all(degrade(np.zeros_like(level), {'type': 'ShotNoise'}) == 0)


@pytest.mark.parametrize(
    ('step', 'deviation'),
    [({'type': 'GaussianNoise', 'sigma': 9.0}, 9), ({'type': 'ShotNoise', 'scale': 1.5}, 1.5 * 128**0.5)],
)
def test_grey_noise_is_equal_in_all_channels(step, deviation):
    noise = degrade(GREY, {**step, 'grey': 1}).astype(int) - 128
    assert np.all(noise == noise[..., :1])
    assert noise.std() == pytest.approx(deviation, rel=0.02)


# ------------------------------------------------------------------------------------------------------ blur


def test_gaussian_blur_equals_scipy(astronaut):
    blurred = degrade(astronaut, {'type': 'GaussianBlur', 'sigma': 4.0, 'truncate': 3.0})
    expected = scipy.ndimage.gaussian_filter(astronaut.astype(float), 4, truncate=3, mode='mirror', axes=(0, 1))
    assert np.abs(blurred - expected).max() < 1.25
    assert np.sqrt(np.mean((blurred - expected) ** 2)) < 0.3  # 0.289 is due to rounding


@pytest.mark.parametrize(
    'kernel',
    [
        motion_kernel(19, 33, 0.4),
        motion_kernel(11, 90, -1),
        motion_kernel(21, 45, 0),
        scipy.stats.norm.pdf(np.hypot(*np.mgrid[-10:11, -10:11]), scale=3),
        np.sinc(np.hypot(*np.mgrid[-10:11, -10:11])),
        -scipy.stats.norm.pdf(np.hypot(*np.mgrid[-5:6, -5:6]), scale=2) + 2 * (np.hypot(*np.mgrid[-5:6, -5:6]) == 0),
    ],
    ids=['motion', 'motion, flat', 'motion, diagonal', 'dense', 'dense, much ringing', 'with negative weights'],
)
def test_convolve_equals_scipy(kernel, astronaut):
    kernel = kernel / kernel.sum()
    image = astronaut[100:200, 150:270]
    expected = scipy.ndimage.correlate(image.astype(float), kernel[..., None], mode='mirror').clip(0, 255)
    assert np.abs(convolve(image, kernel) - expected).max() < 0.75


@pytest.mark.parametrize('shape', ['gaussian', 'generalized', 'plateau'])
@pytest.mark.parametrize('isotropic', [0, 1])
def test_kernel_blur_equals_the_hosts(shape, isotropic, astronaut):
    image, log = astronaut[100:200, 150:270], []
    blurred = build_degradation(
        {'type': 'KernelBlur', 'shape': shape, 'isotropic': isotropic, 'size': 21, 'beta': [0.5, 2]}
    )(image, make_generator(1), log)
    (drawn,) = log
    build = {
        'gaussian': host.bivariate_Gaussian,
        'generalized': host.bivariate_generalized_Gaussian,
        'plateau': host.bivariate_plateau,
    }[shape]
    beta = [] if shape == 'gaussian' else [drawn['beta']]
    kernel = build(21, drawn['sigma_x'], drawn['sigma_y'], np.radians(drawn['angle']), *beta, isotropic=bool(isotropic))
    assert np.abs(blurred - cv2.filter2D(image.astype(float), -1, kernel)).max() < 0.75


def test_sinc_filter_equals_the_hosts(astronaut):
    image = astronaut[100:200, 150:270]
    for cutoff in (1.0, 3.0):
        filtered = degrade(image, {'type': 'SincFilter', 'size': 15, 'cutoff': cutoff})
        expected = cv2.filter2D(image.astype(float), -1, host.circular_lowpass_kernel(cutoff, 15)).clip(0, 255)
        assert np.abs(filtered - expected).max() < 0.75


def test_motion_kernel_rotates_with_the_angle():
    across = motion_kernel(15, 30, 0.7)
    assert across.sum() == pytest.approx(1)
    assert np.allclose(motion_kernel(15, 210, 0.7), across[::-1, ::-1])
    assert np.allclose(motion_kernel(15, 30, -0.7), across[::-1, ::-1])
    assert np.allclose(motion_kernel(15, 60, 0.7), across.T)
    y, x = np.nonzero(across)
    principal = np.linalg.eigh(np.cov(x, y))[1][:, -1]
    assert np.degrees(np.arctan2(*principal)) % 180 == pytest.approx(30, abs=3)


def test_motion_kernel_weights_fall_linearly_along_the_line():
    assert motion_kernel(5, 0, 1)[:, 2] == pytest.approx(np.array([2, 1.5, 1, 0.5, 0]) / 5)
    assert motion_kernel(5, 0, 0)[:, 2] == pytest.approx(0.2)
    assert motion_kernel(1, 77, 0.3) == pytest.approx(1)


# ---------------------------------------------------------------------------------- resolution, compression


@pytest.mark.parametrize('quality', [17, 51, 95])
def test_jpeg_equals_pillow(quality, astronaut):
    encoded = io.BytesIO()
    Image.fromarray(astronaut).save(encoded, 'JPEG', quality=quality)
    expected = np.asarray(Image.open(encoded)).astype(int)
    difference = np.abs(degrade(astronaut, {'type': 'JPEG', 'quality': quality}) - expected)
    assert difference.mean() < 0.1 and difference.max() <= 8


def test_sr4x_takes_area_means(astronaut):
    expected = astronaut.reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
    assert np.abs(degrade(astronaut, 'sr4x') - expected).max() <= 0.5


@pytest.mark.parametrize('size', [(64, 96), (37, 53), (5, 7)])
def test_mosaic_takes_means_of_whole_and_partial_blocks(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    mosaic = degrade(image, {'type': 'Mosaic', 'block': 16})
    for top in range(0, size[0], 16):
        for left in range(0, size[1], 16):
            block = np.s_[top : top + 16, left : left + 16]
            assert np.abs(mosaic[block] - image[block].mean(axis=(0, 1))).max() <= 0.5


@pytest.mark.parametrize(('ratio', 'expected'), [(0.25, (10, 13)), (1, (40, 51)), (1.5, (60, 76)), (0.001, (1, 1))])
def test_resize_rounds_the_size_and_never_loses_the_image(ratio, expected):
    image = np.zeros((40, 51, 3), np.uint8)
    assert degrade(image, {'type': 'Resize', 'ratio': ratio}).shape[:2] == expected


def test_fit_averages_to_shrink_and_interpolates_to_grow(astronaut):
    assert np.array_equal(fit(astronaut, 128, 128), degrade(astronaut, 'sr4x'))
    assert fit(astronaut, 512, 512) is astronaut
    small = torch.from_numpy(astronaut[:60, :80]).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(small, (150, 240), mode='bicubic')[0].permute(1, 2, 0).clamp(0, 255)
    assert np.abs(fit(astronaut[:60, :80], 150, 240) - expected.numpy()).max() <= 1


# ---------------------------------------------------------------------------------------------------- colour

NO_JITTER = {'type': 'ColourJitter', 'brightness': 1, 'contrast': 1, 'saturation': 1, 'hue': 0}


def as_tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1)


@pytest.mark.parametrize('factor', [0, 0.5, 0.8, 1.5])
@pytest.mark.parametrize('name', ['brightness', 'contrast', 'saturation'])
def test_colour_factors_equal_torchvisions(name, factor, astronaut):
    change = getattr(torchvision.transforms.functional, f'adjust_{name}')
    expected = change(as_tensor(astronaut), factor).permute(1, 2, 0).numpy()
    ours = degrade(astronaut, {**NO_JITTER, name: factor})
    assert np.abs(ours.astype(int) - expected).max() <= 1  # torchvision truncates instead of rounding


@pytest.mark.parametrize('turn', [-0.5, -0.1, 0.07, 0.3])
def test_hue_equals_torchvisions(turn, astronaut):
    expected = torchvision.transforms.functional.adjust_hue(as_tensor(astronaut), turn).permute(1, 2, 0).numpy()
    assert np.abs(degrade(astronaut, {**NO_JITTER, 'hue': turn}).astype(int) - expected).max() <= 1


def test_no_jitter_does_not_change_the_image(astronaut):
    assert np.array_equal(degrade(astronaut, NO_JITTER), astronaut)


def test_the_order_of_colour_changes_is_random(astronaut):
    """Brightness and contrast do not commute, so there are several results."""
    jitter = {**NO_JITTER, 'brightness': 1.4, 'contrast': 0.5}
    assert len({degrade(astronaut, jitter, seed).tobytes() for seed in range(12)}) > 1


def test_a_colour_cast_is_one_number_for_each_channel(astronaut):
    image = astronaut.clip(30, 220)
    shift = degrade(image, {'type': 'ColourShift', 'red': 7, 'green': -12, 'blue': [-20, 20]}).astype(int) - image
    assert (shift[..., 0] == 7).all() and (shift[..., 1] == -12).all() and np.ptp(shift[..., 2]) == 0


def test_greyscale_equals_opencvs_luma(astronaut):
    expected = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    grey = degrade(astronaut, {'type': 'Greyscale'})
    assert np.abs(grey.astype(int) - expected[..., None]).max() <= 1
    assert np.ptp(grey, axis=2).max() == 0
