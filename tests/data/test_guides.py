"""Tests of guides."""

import cv2
import numpy as np
import pytest
import scipy.interpolate
import skimage.data
from basicsr.data import build_dataset

from hifacegan_plugin.data.degradations import build_degradation, make_generator
from hifacegan_plugin.data.degradations.geometry import Mirror, ThinPlateWarp, thin_plate
from hifacegan_plugin.schema.problem import OptionError

LEVELS = {'anna_1': 40, 'anna_2': 80, 'anna_3': 120, 'bert_1': 160, 'nobody': 200}


@pytest.fixture
def people(tmp_path):
    """Images of one grey level each, and the options of a data set of them."""
    for name, level in LEVELS.items():
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.full((64, 80, 3), level, np.uint8))
    return {
        'name': 'people', 'type': 'DegradationDataset', 'phase': 'train', 'dataroot_gt': str(tmp_path),
        'degradation': 'noise', 'gt_size': 32, 'use_hflip': True, 'scale': 1,
    }  # fmt: skip


def names_of_guides(dataset, epochs=1):
    """Return the names of the images that were used as guides of each image."""
    names: dict[str, set[str]] = {name: set() for name in LEVELS}
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        for item, name in zip(dataset, sorted(LEVELS)):
            level = round(item['guide'].mean().item() * 255)
            names[name] |= {other for other, its in LEVELS.items() if its == level} or {'another level'}
    return names


def test_a_guide_is_another_image_of_the_same_person(people):
    names = names_of_guides(build_dataset({**people, 'guide': {'person': '(.+)_', 'view': []}}), epochs=20)
    assert names == {
        'anna_1': {'anna_2', 'anna_3'}, 'anna_2': {'anna_1', 'anna_3'}, 'anna_3': {'anna_1', 'anna_2'},
        'bert_1': {'bert_1'}, 'nobody': {'nobody'},
    }  # fmt: skip


def test_a_list_of_guides(people, tmp_path, caplog):
    lines = ['anna_1\tanna_2', 'anna_2.png\tbert_1.png', 'bert_1\tcarl_1', '', 'anna_3\tanna_1']
    (tmp_path / 'pairs.txt').write_text('\n'.join(lines), encoding='utf-8-sig')  # with a byte order mark
    guide = {'person': '^([a-z]+)', 'view': [], 'list_file': str(tmp_path / 'pairs.txt')}
    names = names_of_guides(build_dataset({**people, 'guide': guide}))
    assert names == {name: {name} for name in LEVELS} | {'anna_1': {'anna_2'}, 'anna_3': {'anna_1'}}
    assert '1 lines name images that the data set does not have: carl_1' in caplog.text
    assert '1 lines pair two people: anna_2.png and bert_1.png' in caplog.text


@pytest.mark.parametrize(
    ('guide', 'error', 'message'),
    [
        ({'person': '(.+'}, OptionError, r"guide: person: give a regular expression, not '\(\.\+'"),
        ({'list_file': 'nowhere.txt'}, FileNotFoundError, 'guide: list_file: nowhere.txt does not exist'),
        ({'pattern': 'x'}, OptionError, "guide: unknown option 'pattern'"),
        ({'view': 'blurr'}, ValueError, "unknown degradation recipe 'blurr'"),
    ],
)
def test_invalid_guides_are_reported(people, guide, error, message):
    with pytest.raises(error, match=message):
        build_dataset({**people, 'guide': guide})


def test_invalid_lines_of_a_list_are_reported(people, tmp_path):
    (tmp_path / 'old.txt').write_bytes('anna_1\tthé\n'.encode('latin-1'))
    with pytest.raises(ValueError, match=r'guide: list_file: .*old\.txt is not UTF-8 text'):
        build_dataset({**people, 'guide': {'list_file': str(tmp_path / 'old.txt')}})
    (tmp_path / 'pairs.txt').write_text('anna_1\tanna_2\nanna_1 anna_2\n')
    with pytest.raises(ValueError, match=r'pairs.txt: line 2 is not the names of two images'):
        build_dataset({**people, 'guide': {'list_file': str(tmp_path / 'pairs.txt')}})


@pytest.mark.parametrize('phase', ['train', 'val'])
def test_guides_are_reproducible_and_do_not_affect_other_draws(small_lmdb, phase):
    options = {
        'name': 'x', 'type': 'DegradationDataset', 'phase': phase, 'dataroot_gt': str(small_lmdb), 'seed': 3,
        'io_backend': {'type': 'lmdb'}, 'degradation': 'full', 'scale': 1, 'gt_size': 64 if phase == 'train' else None,
    }  # fmt: skip
    plain, guided, again = (build_dataset({**options, **more}) for more in ({}, {'guide': {}}, {'guide': {}}))
    first, second = guided[0], guided[1]
    assert np.array_equal(plain[0]['lq'], first['lq']) and np.array_equal(plain[0]['gt'], first['gt'])
    assert np.array_equal(again[0]['guide'], first['guide']) and first['guide'].shape == first['lq'].shape
    assert 0.01 < (first['guide'] - first['gt']).abs().mean() < 0.3
    assert not np.array_equal(first['guide'], second['guide'])
    guided.set_epoch(1)
    assert np.array_equal(guided[0]['guide'], first['guide']) == (phase == 'val')


def test_guides_have_the_channels_and_size_of_the_degraded_image(people):
    dataset = build_dataset({**people, 'color': 'grey', 'scale': 2, 'deliver': 'uint8', 'guide': {'person': '(.+)_'}})
    item = dataset[0]
    assert item['guide'].shape == item['lq'].shape == (1, 16, 16) and item['guide'].numpy().dtype == np.uint8


def test_thin_plate_splines_equal_scipys():
    rng = np.random.default_rng(0)
    points, values, at = rng.uniform(0, 500, (12, 2)), rng.normal(size=(12, 2)), rng.uniform(-50, 550, (40, 2))
    expected = scipy.interpolate.RBFInterpolator(points, values, kernel='thin_plate_spline')(at)
    np.testing.assert_allclose(thin_plate(points, values, at), expected, atol=1e-6)


def test_shift_limits_the_warp():
    columns = np.tile(np.arange(250, dtype=np.uint8), (200, 1))[..., None]
    still = ThinPlateWarp().apply(columns, make_generator(0), points=4, shift=0.0)
    assert np.array_equal(still, columns[..., 0])
    warped = ThinPlateWarp().apply(columns, make_generator(0), points=4, shift=0.04)
    moved = np.abs(warped[40:-40, 40:-40].astype(int) - columns[40:-40, 40:-40, 0])
    assert 4 < moved.max() <= 1.5 * 0.04 * 200


def test_mirroring_twice_is_the_identity():
    image = skimage.data.astronaut()[:40, :50]
    mirror = build_degradation({'type': 'Mirror'})
    assert np.array_equal(mirror(image, make_generator(0)), image[:, ::-1])
    assert np.array_equal(Mirror().apply(image[:, ::-1], make_generator(0)), image)
