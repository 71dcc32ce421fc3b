"""Tests of the command ``hifacegan verify-lmdb`` on damaged databases."""

import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from commands_in_process import run_command
from conftest import REPOSITORY
from PIL import Image
from skimage import data

SCRIPT = REPOSITORY / 'data_prep/verify_lmdb.py'
KEYS = ['photo', *(f'{i:02d}' for i in range(20))]


verify = partial(run_command, 'verify-lmdb')


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
    place, image = tmp_path_factory.mktemp('sound'), data.astronaut()
    (place / 'in').mkdir()
    for i in range(20):
        Image.fromarray(image[20 * i : 20 * i + 64, 20 * i : 20 * i + 64]).save(place / f'in/{i:02d}.png')
    Image.fromarray(image).save(place / 'in/photo.jpg', quality=95)
    run_command('lmdb', '-i', place / 'in', '-o', place / 'x.lmdb')
    return place / 'x.lmdb'


@pytest.fixture
def database(sound, tmp_path):
    return Path(shutil.copytree(sound, tmp_path / 'x.lmdb'))


def change(database, key, value):
    with lmdb.open(str(database), map_size=1 << 30) as env, env.begin(write=True) as transaction:
        if value is None:
            transaction.delete(key.encode())
        else:
            transaction.put(key.encode(), value)


def read(database, key):
    with lmdb.open(str(database), readonly=True, lock=False) as env, env.begin() as transaction:
        return bytearray(transaction.get(key.encode()))


def problems(done):
    lines = [line.split(': ', 2) for line in done.stdout.splitlines()]
    return {key: problem for _, key, problem in (line for line in lines if len(line) == 3)}


def test_an_intact_database_passes(sound):
    assert 'all is well' in verify(sound).stdout


def test_the_hosts_own_database_passes(sound, tmp_path):
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    cv2.imwrite(str(tmp_path / 'grey.png'), data.camera())
    cv2.imwrite(str(tmp_path / 'alpha.png'), np.dstack([data.astronaut(), data.camera()]))
    make_lmdb_from_imgs(str(tmp_path), str(tmp_path / 'x.lmdb'), ['grey.png', 'alpha.png'], ['a grey', 'b/alpha'])
    verify(tmp_path / 'x.lmdb')


@pytest.mark.parametrize('key', ['07', 'photo'])
def test_a_flipped_bit_is_detected(database, key):
    value = read(database, key)
    value[len(value) // 2] ^= 4
    change(database, key, bytes(value))
    assert problems(verify(database, status=1)) == {key: 'damaged: wrong checksum'}


def test_a_flipped_bit_in_a_png_is_detected_without_checksums(database):
    (database / 'checksums.txt').unlink()
    value = read(database, '07')
    value[len(value) // 2] ^= 4
    change(database, '07', bytes(value))
    reason = 'is damaged (wrong checksum in the PNG chunk IDAT)'
    assert problems(verify(database, status=1)) == {'07': reason}


def test_flipped_bytes_in_data_mdb_are_detected(sound, tmp_path):
    """Flip random bytes of data.mdb, including its tree: the command reports a problem without a traceback."""
    rng = random.Random(0)
    content = (sound / 'data.mdb').read_bytes()
    used = [i for i in range(0, len(content), 4096) if any(content[i : i + 4096])]
    for trial in range(6):
        damaged = bytearray(content)
        for page in used[2:]:  # the first two are copies of the header; LMDB reads the newer one
            position = page + rng.randrange(64)
            damaged[position] ^= 0xFF
        database = Path(shutil.copytree(sound, tmp_path / f'{trial}.lmdb'))
        (database / 'data.mdb').write_bytes(damaged)
        done = subprocess.run([sys.executable, SCRIPT, database], capture_output=True, text=True)
        assert done.returncode in (1, 2), trial
        assert 'Traceback' not in done.stderr


def test_missing_extra_and_invalid_values_and_wrong_shapes_are_reported(database):
    change(database, '01', None)
    change(database, 'stray', b'x')
    change(database, '02', b'garbage')
    change(database, '03', bytes(read(database, 'photo')))
    (database / 'checksums.txt').unlink()
    assert problems(verify(database, '--jobs', 2, status=1)) == {
        'stray': 'in the database, but not in meta_info.txt',
        '01': 'not in the database',
        '02': 'is not an image, or of no known format',
        '03': 'has shape (512, 512, 3), meta_info.txt says (64, 64, 3)',
    }


def test_several_databases_are_checked(sound, database):
    change(database, '01', None)
    done = verify(database, sound, status=1)
    assert f'{database}: 01: not in the database' in done.stdout
    assert f'{sound}: all is well' in done.stdout


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda x: (x / 'meta_info.txt').unlink(), 'meta_info.txt cannot be read: No such file or directory\n'),
        (lambda x: (x / 'meta_info.txt').write_text('00.png 64 64\n'), 'line 1: no "key.png (h,w,c) level"'),
        (lambda x: (x / 'meta_info.txt').write_text('00.png (64,64,3) 1\n' * 2), 'line 2: 00 occurs twice'),
        (lambda x: (x / 'data.mdb').unlink(), 'is not a database'),
        (lambda x: (x / 'data.mdb').write_bytes(b''), 'data.mdb is empty (0 bytes)'),
        (lambda x: (x / 'data.mdb').write_bytes(bytes(100_000)), 'is not a database'),
        (lambda x: (x / 'data.mdb').write_bytes((x / 'data.mdb').read_bytes()[:-90_000]), 'is truncated'),
        (lambda x: (x / 'checksums.txt').write_text('00 zz\n'), 'checksums.txt, line 1'),
        (lambda x: (x / 'checksums.txt').write_bytes(b'\xff'), 'checksums.txt cannot be read'),
    ],
    ids=['no list', 'bad line', 'repeated line', 'no data', 'empty', 'zeros', 'truncated', 'bad checksum', 'no text'],
)
def test_an_unreadable_database_is_reported(database, damage, message):
    damage(database)
    done = verify(database, status=2)
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


def test_zero_jobs_are_refused(sound):
    done = verify(sound, '--jobs', 0, status=2)
    assert "argument --jobs: '0': expected a whole number of at least 1" in done.stderr
