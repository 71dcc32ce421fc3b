"""Tests of rain and haze, compared with their formulas and declared parameters."""

import numpy as np
import pytest
import scipy.interpolate
import skimage.data

from hifacegan_plugin.data.degradations import build_degradation, make_generator
from hifacegan_plugin.data.degradations.weather import Haze, Rain, smooth_field

BLACK = np.zeros((240, 320, 3), np.uint8)
STILL = {'density': 1.0, 'length': 30.0, 'width': 1, 'angle': 0.0, 'opacity': 1.0, 'layers': 1}


def rain(seed=0, image=BLACK, **parameters):
    return Rain().apply(image, make_generator(seed), **{**STILL, **parameters})


# ------------------------------------------------------------------------------------------------------- haze


def test_haze_follows_koschmieders_law():
    image, depth = skimage.data.astronaut(), np.linspace(0, 1, 512 * 512).reshape(512, 512)
    hazy = Haze().apply(image, make_generator(0), beta=1.3, airlight=0.8, hills=3, recession=0.5, depth=depth)
    transmission = np.exp(-1.3 * depth)[..., None]
    expected = image * transmission + 204 * (1 - transmission)
    assert np.abs(hazy - expected).max() < 0.51


def test_near_and_far_limits_of_haze():
    image = skimage.data.astronaut()
    parameters = {'beta': 20.0, 'airlight': 0.9, 'hills': 3, 'recession': 0.0}
    assert np.array_equal(Haze().apply(image, make_generator(0), **parameters, depth=np.zeros((512, 512))), image)
    assert np.all(Haze().apply(image, make_generator(0), **parameters, depth=np.ones((512, 512))) == round(255 * 0.9))


def test_a_depth_map_of_another_size_is_resized():
    coarse = np.linspace(0, 1, 16)[None].repeat(8, axis=0)
    hazy = build_degradation({'type': 'Haze', 'beta': 1, 'airlight': 1})(BLACK, make_generator(0), depth=coarse)
    columns = hazy[..., 0]
    assert np.all(columns == columns[0]) and np.all(np.diff(columns[0].astype(int)) >= 0)
    assert columns[0, 0] == 0 and columns[0, -1] == pytest.approx(255 * (1 - np.exp(-1)), abs=0.51)


def test_depth_is_passed_to_nested_haze():
    nested = [{'type': 'OneOf', 'steps': [{'type': 'Sometimes', 'probability': 1, 'steps': ['haze']}]}]
    hazy = build_degradation(nested)(BLACK, make_generator(0), depth=np.zeros(BLACK.shape[:2]))
    assert not hazy.any()


def test_random_depth_increases_towards_the_top():
    flat = Haze().apply(BLACK, make_generator(0), beta=1.0, airlight=1.0, hills=2, recession=1.0)
    rows = flat[..., 0].astype(int)
    assert np.all(rows == rows[:, :1]) and np.all(np.diff(rows[:, 0]) <= 0)
    assert rows[0, 0] == round(255 * (1 - np.exp(-1))) and rows[-1, 0] == 0


@pytest.mark.parametrize(('height', 'width', 'cells'), [(64, 96, 2), (50, 31, 5), (1, 1, 3)])
def test_smooth_field_is_a_cubic_spline(height, width, cells):
    field = smooth_field(height, width, cells, make_generator(0))
    assert field.shape == (height, width) and field.min() == 0
    control = make_generator(0).random((cells + 3, cells + 3))
    knots = np.arange(-3, cells + 4)
    along = [
        scipy.interpolate.BSpline(knots, np.eye(cells + 3), 3)((np.arange(n) + 0.5) * cells / n)
        for n in (height, width)
    ]
    expected = along[0] @ control @ along[1].T
    span = max(np.ptp(expected), 1e-9)
    assert np.allclose(field, (expected - expected.min()) / span)
    assert field.max() == pytest.approx(1 if field.size > 1 else 0)


# ------------------------------------------------------------------------------------------------------- rain


def test_rain_only_brightens():
    image = skimage.data.astronaut()
    rainy = rain(image=image, opacity=0.7)
    assert np.all(rainy >= image) and np.any(rainy > image)
    assert np.all(rain(image=np.full((64, 64, 3), 255, np.uint8)) == 255)


def test_no_rain_without_streaks_or_opacity():
    image = skimage.data.astronaut()
    assert np.array_equal(rain(image=image, density=0.0), image)
    assert np.array_equal(rain(image=image, opacity=0.0), image)


def test_streaks_are_grey_and_blend_by_opacity():
    on_black = rain(opacity=1.0)
    assert np.all(on_black == on_black[..., :1])
    grey = np.full_like(BLACK, 100)
    assert np.abs(rain(image=grey, opacity=0.5) - (100 + 155 * 0.5 * on_black / 255.0)).max() <= 1


@pytest.mark.parametrize('doubled', ['density', 'length', 'width'])
def test_rain_grows_with_density_length_and_width(doubled):
    base, more = (
        np.mean([rain(seed, **parameters).mean() for seed in range(8)])
        for parameters in ({}, {doubled: 2 * STILL[doubled]})
    )
    assert more / base == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize('angle', [-30.0, 0.0, 20.0, 75.0])
def test_a_streak_has_its_length_and_angle(angle):
    lengths, angles = [], []
    for seed in range(40):
        (streak,) = rain(seed, density=1 / 76.8, length=40.0, angle=angle).astype(float)[..., :1].transpose(2, 0, 1)
        if streak[0].any() or streak[-1].any() or streak[:, 0].any() or streak[:, -1].any():
            continue  # touches the border
        y, x = np.nonzero(streak)
        spread = np.cov(x, y, aweights=streak[y, x])
        dx, dy = np.linalg.eigh(spread)[1][:, -1]
        angles.append((np.degrees(np.arctan2(dx, dy)) - angle + 90) % 180 - 90)
        lengths.append(np.hypot(np.ptp(x), np.ptp(y)))
    assert len(angles) > 15
    assert abs(np.mean(angles)) < 1.5 and np.abs(angles).max() < 4  # each streak is rotated by up to 3 degrees
    assert np.mean(lengths) == pytest.approx(40, abs=4)


def test_farther_layers_are_fainter_and_denser():
    near, deep = (np.stack([rain(seed, layers=layers) for seed in range(8)]) for layers in (1, 3))
    assert (deep > 180).mean() < 0.6 * (near > 180).mean()
    assert (deep > 0).mean() > (near > 0).mean()


def test_rain_haze_adds_haze_after_rain():
    log = []
    build_degradation('rain_haze')(BLACK, make_generator(0), log)
    assert [entry['type'] for entry in log] == ['Rain', 'Haze']
    assert set(log[0]) == {'type', 'density', 'length', 'width', 'angle', 'opacity', 'layers'}
