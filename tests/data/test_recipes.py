"""Tests of recipes and combinations of steps."""

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import yaml

from hifacegan_plugin.data.degradations import RECIPES, build_degradation, make_generator

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
JPEG, MOSAIC, NOISE = {'type': 'JPEG'}, {'type': 'Mosaic'}, {'type': 'GaussianNoise'}
LEAVES_SMALL = {'sr4x', 'down', 'realesrgan'}


def run(recipe, seed=0):
    """Return the degraded image and the names of the steps that ran."""
    log = []
    degraded = build_degradation(recipe)(IMAGE, make_generator(seed), log)
    return degraded, [entry['type'] for entry in log]


def frequencies(recipe, draws=2000):
    degradation, counts = build_degradation(recipe), Counter()
    image = IMAGE[:8, :8]
    for i in range(draws):
        log = []
        degradation(image, make_generator(0, i), log)
        counts[tuple(entry['type'] for entry in log)] += 1
    return {steps: count / draws for steps, count in counts.items()}


@pytest.mark.parametrize('name', RECIPES)
def test_every_recipe_degrades(name):
    degraded, steps = run(name)
    assert degraded.dtype == np.uint8 and steps
    assert not np.array_equal(degraded, IMAGE)
    if name not in LEAVES_SMALL:
        assert degraded.shape == IMAGE.shape


@pytest.mark.parametrize('name', RECIPES)
def test_recipes_can_be_written_in_an_options_file(name):
    written = yaml.safe_load(yaml.safe_dump(RECIPES[name]))
    assert np.array_equal(run(written)[0], run(name)[0])


def test_nested_steps_and_recipes():
    recipe = yaml.safe_load("""
        - blur
        - {type: Sometimes, probability: 1, steps: [{type: GaussianNoise, sigma: [5, 10]}, jpeg]}
        - {type: ResizeBack, steps: [{type: Repeat, times: 2, steps: [{type: Resize, ratio: 0.5}]}]}
    """)
    degraded, steps = run(recipe)
    assert steps[0] in ('MotionBlur', 'GaussianBlur')
    assert steps[1:] == ['GaussianNoise', 'JPEG', 'Resize', 'Resize', 'ResizeBack']
    assert degraded.shape == IMAGE.shape


def test_an_empty_list_does_not_change_the_image():
    assert run([])[0] is IMAGE


def test_full_runs_its_groups_in_random_order():
    group = {
        'MotionBlur': 'blur',
        'GaussianBlur': 'blur',
        'Resize': 'down',
        'JPEG': 'jpeg',
        'GaussianNoise': 'noise',
        'LaplaceNoise': 'noise',
        'PoissonNoise': 'noise',
        'ResizeBack': None,
    }
    orders = {tuple(filter(None, map(group.get, run('full', seed)[1]))) for seed in range(200)}
    assert orders == set(permutations(['blur', 'down', 'jpeg', 'noise']))


def within(expected, draws=2000):
    return pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / draws))


def test_weights_of_one_of():
    fair = frequencies({'type': 'OneOf', 'steps': [JPEG, MOSAIC, NOISE]})
    assert fair == {('JPEG',): within(1 / 3), ('Mosaic',): within(1 / 3), ('GaussianNoise',): within(1 / 3)}
    weighted = frequencies({'type': 'OneOf', 'steps': [JPEG, MOSAIC, NOISE], 'weights': [1, 0, 3]})
    assert weighted == {('JPEG',): within(0.25), ('GaussianNoise',): within(0.75)}


def test_all_orders_of_shuffle_are_equally_likely():
    assert frequencies({'type': 'Shuffle', 'steps': [JPEG, MOSAIC, NOISE]}) == {
        order: within(1 / 6) for order in permutations(['JPEG', 'Mosaic', 'GaussianNoise'])
    }


def test_sometimes_and_repeat():
    assert frequencies({'type': 'Sometimes', 'probability': 0.2, 'steps': [JPEG, MOSAIC]}) == {
        (): within(0.8),
        ('JPEG', 'Mosaic'): within(0.2),
    }
    assert frequencies({'type': 'Repeat', 'times': [0, 2], 'steps': [JPEG]}) == {
        ('JPEG',) * n: within(1 / 3) for n in range(3)
    }


@pytest.mark.parametrize(('option', 'value'), [('size', [10, 20]), ('size', [11, 19])])
def test_motion_blur_covers_odd_sizes(option, value):
    log, step = [], build_degradation({'type': 'MotionBlur', option: value})
    for seed in range(100):
        step(IMAGE[:8, :8], make_generator(seed), log)
    assert {entry['size'] for entry in log} == {11, 13, 15, 17, 19}


@pytest.mark.parametrize(
    ('recipe', 'message'),
    [
        ('ful', r"unknown degradation recipe 'ful'. Did you mean 'full'\? They are: sr4x"),
        (['jpeg', 'nois'], r"Did you mean 'noise'\?"),
        ({'type': 'GausianBlur'}, r"unknown degradation step 'GausianBlur'. Did you mean 'GaussianBlur'\? They are: "),
        ({'sigma': 3}, 'a degradation step needs a type'),
        ({'type': 'GaussianNoise', 'sigmas': 3}, r"GaussianNoise has no option 'sigmas'. Did you mean 'sigma'\?"),
        ({'type': 'GaussianNoise', 'sigma': [40, 20]}, r'GaussianNoise: sigma needs 0 <= low <= high .*\[40, 20\]'),
        ({'type': 'GaussianNoise', 'sigma': -1}, 'GaussianNoise: sigma needs 0 <= low <= high <= 1000'),
        ({'type': 'GaussianNoise', 'sigma': [1, 2, 3]}, r'GaussianNoise: sigma takes a number or \[low, high\]'),
        ({'type': 'GaussianNoise', 'sigma': 'strong'}, 'GaussianNoise: sigma takes a number'),
        ({'type': 'GaussianNoise', 'sigma': [float('nan'), 3]}, 'GaussianNoise: sigma needs'),
        ({'type': 'GaussianNoise', 'sigma': [3, float('inf')]}, 'GaussianNoise: sigma needs'),
        ({'type': 'JPEG', 'quality': [10, 200]}, 'JPEG: quality needs 1 <= low <= high <= 100'),
        ({'type': 'JPEG', 'quality': 30.5}, 'JPEG: quality takes whole numbers'),
        ({'type': 'MotionBlur', 'size': 8}, 'MotionBlur: size takes odd numbers'),
        ({'type': 'Resize', 'interpolation': 'bicubic'}, r"interpolation takes .*cubic.*Did you mean 'cubic'\?"),
        ({'type': 'Resize', 'interpolation': []}, 'interpolation is empty'),
        ({'type': 'Resize', 'interpolation': None}, 'interpolation takes nearest, .*, not None'),
        ({'type': 'Resize', 'interpolation': 3}, 'interpolation takes nearest, .*, not 3'),
        ({'type': 'OneOf', 'steps': ['jpeg'], 'weights': 0.5}, 'OneOf: weights takes one number .* not 0.5'),
        ({'type': 'OneOf', 'steps': ['jpeg', 'noise'], 'weights': ['1e-1', 1]}, 'OneOf: weights takes one number'),
        ({'type': 'OneOf', 'steps': ['jpeg'], 'weights': [float('nan')]}, 'OneOf: weights takes one number'),
        ({'type': 'OneOf'}, 'OneOf needs its list of steps'),
        ({'type': 'OneOf', 'steps': []}, 'OneOf: steps is empty'),
        ({'type': 'OneOf', 'steps': ['jpeg'], 'weights': [1, 2]}, 'OneOf: weights takes one number'),
        ({'type': 'Shuffle', 'steps': 'jpeg'}, 'Shuffle: steps takes a list'),
        ({'type': 'Sometimes', 'steps': ['jpeg'], 'probability': 2}, 'Sometimes: probability takes a probability'),
        (7, 'a degradation is the name of a recipe'),
    ],
)
def test_unknown_names_are_reported(recipe, message):
    with pytest.raises(ValueError, match=message):
        build_degradation(recipe)
