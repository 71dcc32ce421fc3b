"""Tests of the command ``hifacegan align``."""

import io
import json
import shutil
import sys
from functools import partial

import cv2
import lmdb
import numpy as np
import pytest
from commands_in_process import run_command
from PIL import Image
from skimage import data

from hifacegan_plugin.faces import finding
from hifacegan_plugin.faces.alignment import apply
from hifacegan_plugin.prepare.align import sharpness

ASTRONAUT = data.astronaut()
PORTRAIT = ASTRONAUT[:256, 96:352]
align = partial(run_command, 'align')
OPTIONS = ('--side', '128', '--min-face', '160', '--jobs', '1')  # detection of smaller faces takes longer


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photographs')
    (folder / 'b').mkdir()
    Image.fromarray(PORTRAIT).save(folder / 'a.png')
    Image.fromarray(PORTRAIT[:, ::-1]).save(folder / 'b/x 1.jpg', quality=95)
    Image.fromarray(data.coffee()[:160, :160]).save(folder / 'no_face.png')
    return folder


@pytest.fixture(scope='module')
def built(folder, tmp_path_factory):
    """The results of two runs: a folder and a database."""
    targets = tmp_path_factory.mktemp('built')
    align('-i', folder, '-o', targets / 'faces', *OPTIONS, '--jobs', '2', status=1)
    align('-i', folder, '-o', targets / 'faces.lmdb', *OPTIONS, status=1)
    return targets


def images(target):
    if target.suffix != '.lmdb':
        return {path.stem: path.read_bytes() for path in (target / 'images').iterdir()}
    with lmdb.open(str(target), readonly=True, lock=False) as env, env.begin() as transaction:
        return {key.decode(): value for key, value in transaction.cursor()}


def faces(target):
    return {face['key']: face for face in map(json.loads, (target / 'faces.jsonl').read_text().splitlines())}


def rejected(target):
    lines = target.with_name(f'{target.name}.rejected.tsv').read_text().splitlines()[1:]
    return dict(line.split('\t') for line in lines)


def read(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


def test_folder_from_two_processes_equals_database_from_one(built):
    found = images(built / 'faces')
    assert found.keys() == {'a', 'b%2Fx%201'}
    assert found == images(built / 'faces.lmdb')
    assert faces(built / 'faces') == faces(built / 'faces.lmdb')
    assert rejected(built / 'faces').keys() == {'no_face.png'}
    assert rejected(built / 'faces')['no_face.png'].startswith('has no face that the detector finds')
    assert {read(value).shape for value in found.values()} == {(128, 128, 3)}
    assert (built / 'faces.lmdb/meta_info.txt').read_text().splitlines()[0] == 'a.png (128,128,3) 1'


def test_recorded_matrix_maps_the_crop_to_the_photograph(built):
    crop, face = read(images(built / 'faces')['a']), faces(built / 'faces')['a']
    assert (face['photograph'], face['size'], face['side'], face['rejected']) == ('a.png', [256, 256], 128, None)
    transform = np.array(face['crop_to_photograph'])
    back = cv2.warpAffine(crop, transform, (256, 256), flags=cv2.INTER_CUBIC)
    whole = cv2.warpAffine(np.full((128, 128), 255, np.uint8), transform, (256, 256)) == 255
    difference = np.abs(back.astype(int) - cv2.GaussianBlur(PORTRAIT, (0, 0), 0.7))[whole]
    assert whole.sum() > 15_000
    assert difference.mean() < 3
    # FFHQ's alignment: level eyes, and eyes and mouth near the middle of the crop.
    points = np.concatenate([face['eyes'], face['mouth']])
    there = np.linalg.solve(transform[:, :2], (points - transform[:, 2]).T).T
    np.testing.assert_allclose(apply(transform, there), points)
    assert abs(there[0, 1] - there[1, 1]) < 6
    np.testing.assert_allclose(there.mean(0), [63.5, 75], atol=6)


def test_margin_adds_surroundings(folder, built, tmp_path):
    shutil.copy(folder / 'a.png', tmp_path)
    align('-i', tmp_path, '-o', tmp_path / 'wide', *OPTIONS, '--side', '176', '--margin', '0.1875')
    wide, usual = read(images(tmp_path / 'wide')['a']), read(images(built / 'faces')['a'])
    assert wide.shape == (176, 176, 3)
    assert np.abs(wide[24:-24, 24:-24].astype(int) - usual).max() <= 2
    face, other = faces(tmp_path / 'wide')['a'], faces(built / 'faces')['a']
    assert face['square'] == pytest.approx(1.375 * other['square'], rel=1e-3)
    assert face['inside'] < other['inside']
    np.testing.assert_allclose(
        apply(np.array(face['crop_to_photograph']), np.array([24.0, 24.0])),
        apply(np.array(other['crop_to_photograph']), np.array([0.0, 0.0])),
        atol=0.01,
    )


def test_all_faces_and_min_sharpness(tmp_path):
    (tmp_path / 'in').mkdir()
    two = np.hstack([PORTRAIT, cv2.GaussianBlur(PORTRAIT[:, ::-1], (0, 0), 2)])
    Image.fromarray(two).save(tmp_path / 'in/two.png')
    target = tmp_path / 'faces.lmdb'
    arguments = ('-i', tmp_path / 'in', '-o', target, *OPTIONS, '--faces', 'all', '--overwrite')
    printed = align(*arguments)
    assert images(target).keys() == {'two_face1', 'two_face2'}
    assert '2 faces written, 0 rejected' in printed.stdout
    soft, sharp = sorted(face['sharpness'] for face in faces(target).values())
    assert soft < 0.7 * sharp

    limit = (soft + sharp) / 2
    printed = align(*arguments, '--min-sharpness', limit)
    assert '1 faces written, 1 rejected' in printed.stdout
    (blurred,) = (face for face in faces(target).values() if face['rejected'])
    assert blurred['rejected'] == f'sharpness {soft:.2f}, less than --min-sharpness {limit:g}'
    assert images(target).keys() == faces(target).keys() - {blurred['key']}


@pytest.mark.parametrize(
    ('limit', 'reason'),
    [
        (('--min-face', 240), 'pixels, less than --min-face 240'),
        (('--max-yaw', 0.001), 'more than --max-yaw 0.001'),
        (('--max-roll', 0.001), 'more than --max-roll 0.001'),
    ],
)
def test_nothing_is_built_if_all_faces_are_rejected(folder, tmp_path, limit, reason):
    shutil.copy(folder / 'a.png', tmp_path)
    printed = align('-i', tmp_path, '-o', tmp_path / 'faces', *OPTIONS, *limit, status=2)
    assert 'none of the 1 images could be used' in printed.stderr
    assert rejected(tmp_path / 'faces')['a.png'].startswith('has 1 face, none accepted: ')
    assert reason in rejected(tmp_path / 'faces')['a.png']
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'faces.rejected.tsv']


def test_grey_16_bit_alpha_rotated_animated_and_broken_photographs(tmp_path):
    (tmp_path / 'in').mkdir()
    grey = cv2.cvtColor(PORTRAIT, cv2.COLOR_RGB2GRAY)
    Image.fromarray(grey).save(tmp_path / 'in/grey.png')
    cv2.imwrite(str(tmp_path / 'in/deep.png'), PORTRAIT[..., ::-1].astype(np.uint16) * 257)
    Image.fromarray(np.dstack([PORTRAIT, grey])).save(tmp_path / 'in/alpha.png')
    exif = Image.Exif()
    exif[0x112] = 6  # viewers rotate the image by 90 degrees clockwise
    Image.fromarray(np.rot90(PORTRAIT)).save(tmp_path / 'in/turned.jpg', quality=95, exif=exif)
    frames = [Image.fromarray(PORTRAIT), Image.fromarray(PORTRAIT[::-1])]
    frames[0].save(tmp_path / 'in/animated.gif', save_all=True, append_images=frames[1:])
    (tmp_path / 'in/broken.jpg').write_bytes((tmp_path / 'in/turned.jpg').read_bytes()[:3000])

    align('-i', tmp_path / 'in', '-o', tmp_path / 'faces', *OPTIONS, status=1)
    assert rejected(tmp_path / 'faces').keys() == {'animated.gif', 'broken.jpg'}
    assert 'is animated' in rejected(tmp_path / 'faces')['animated.gif']
    found = {
        name: cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_UNCHANGED)
        for name, value in images(tmp_path / 'faces').items()
    }
    assert {name: (image.shape, image.dtype) for name, image in found.items()} == {
        'grey': ((128, 128), np.uint8),
        'deep': ((128, 128, 3), np.uint16),
        'alpha': ((128, 128, 3), np.uint8),
        'turned': ((128, 128, 3), np.uint8),
    }
    assert np.abs(found['deep'] / 257 - found['alpha']).max() <= 1
    assert np.abs(found['turned'].astype(int) - found['alpha']).mean() < 4


def test_resumed_build_equals_uninterrupted_build(folder, built, tmp_path):
    for target in (tmp_path / 'faces', tmp_path / 'faces.lmdb'):
        arguments = ('-i', folder, '-o', target, *OPTIONS)
        shutil.copy(built / f'{target.name}.rejected.tsv', tmp_path)
        partial = shutil.copytree(built / target.name, tmp_path / f'.{target.name}.partial')
        whole = images(built / target.name), (partial / 'faces.jsonl').read_bytes()

        first, second, third, *_ = (partial / 'build.jsonl').read_bytes().splitlines(keepends=True)
        (partial / 'build.jsonl').write_bytes(first + second + third[:-20])  # killed in the middle of a line
        align(*arguments, '--resume', status=1)
        assert (images(target), (target / 'faces.jsonl').read_bytes()) == whole
        align(*arguments, '--resume', status=1)  # does nothing

    target.rename(tmp_path / '.faces.lmdb.partial')
    assert 'min_face was 160, is 150' in align(*arguments, '--resume', '--min-face', 150, status=2).stderr


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['-i', 'gone'], '-i gone: no such folder'),
        (['--side', '0'], "argument --side: '0': expected a whole number of at least 1"),
        (['--max-yaw', 'x'], "argument --max-yaw: 'x': expected a number above 0"),
    ],
)
def test_invalid_arguments_are_reported(folder, tmp_path, arguments, message):
    printed = align('-i', folder, '-o', tmp_path / 'faces', *OPTIONS, *arguments, status=2)
    assert message in printed.stderr
    assert not list(tmp_path.iterdir())


def test_without_dlib_nothing_is_written(folder, tmp_path, monkeypatch):
    finding.load_detector.cache_clear()
    monkeypatch.setitem(sys.modules, 'dlib', None)
    printed = align('-i', folder, '-o', tmp_path / 'faces', status=2)
    assert 'cannot import dlib' in printed.stderr
    assert printed.stderr.endswith('pip install "hifacegan-plugin[faces]"\n')
    assert not list(tmp_path.iterdir())


def test_sharpness_does_not_depend_on_contrast():
    image = np.random.default_rng(0).integers(64, 192, (64, 64, 3), np.uint8)
    pale = (image // 2 + 32).astype(np.uint8)
    assert sharpness(pale) == pytest.approx(sharpness(image), rel=0.02)
    assert sharpness(cv2.GaussianBlur(image, (0, 0), 1)) < 0.6 * sharpness(image)
