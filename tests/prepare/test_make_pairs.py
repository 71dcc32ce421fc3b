"""Tests of the command ``hifacegan pairs``: the pairs, BasicSR reading them, interrupted builds."""

import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from commands_in_process import run_command
from conftest import HANGS, REPOSITORY
from PIL import Image
from skimage import data

from hifacegan_plugin.data.degradations import build_degradation, make_generator
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.sources import ImageSource, read_encoded

# The command with a transaction for every few images, and without importing BasicSR, which takes seconds.
DRIVER = """
import os, signal, sys
from hifacegan_plugin.prepare import resumable_build
resumable_build.BATCH_BYTES = 60_000
from hifacegan_plugin.__main__ import main
sys.exit(main(['pairs', *sys.argv[1:]]))
"""
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(REPOSITORY), 'OMP_NUM_THREADS': '1'}


def make_pairs(*arguments, status=0):
    """Run the command in this process and return its error output."""
    return run_command('pairs', *arguments, status=status).stderr


def values(database):
    with lmdb.open(str(database), readonly=True, lock=False) as env, env.begin() as transaction:
        return dict(transaction.cursor())


def contents(folder):
    """Return the text and PNG files of pairs, and the values of their databases."""
    files = [path for path in folder.rglob('*') if path.suffix in ('.txt', '.png')]
    databases = {side.name: values(side) for side in folder.glob('*.lmdb')}
    return {path.relative_to(folder): path.read_bytes() for path in files}, databases


def pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert('RGB'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Crops of photographs, some with odd sizes, one in a subfolder."""
    folder = tmp_path_factory.mktemp('images')
    (folder / 'b').mkdir()
    Image.fromarray(data.astronaut()[:97, 100:199]).save(folder / 'a.png')
    Image.fromarray(data.chelsea()[100:196, 100:196]).save(folder / 'b/x 1.jpg', quality=90)
    Image.fromarray(data.coffee()[100:196, 100:196]).save(folder / 'c.png')
    return folder


@pytest.fixture(scope='module')
def original_database(folder, tmp_path_factory):
    database = tmp_path_factory.mktemp('databases') / 'x.lmdb'
    subprocess.run([sys.executable, REPOSITORY / 'data_prep/create_lmdb.py', '-i', folder, '-o', database], check=True)
    return database


@pytest.fixture
def database(original_database, tmp_path):
    """A copy, because data sets keep their databases open; its keys are a, b%2Fx%201 and c."""
    return Path(shutil.copytree(original_database, tmp_path / 'x.lmdb'))


def host_pairs(folder, suffix='.lmdb', **options):
    from basicsr.data import build_dataset

    dataset = build_dataset(
        {
            'name': 'test',
            'type': 'PairedImageDataset',
            'phase': 'val',
            'scale': 1,
            'dataroot_lq': str(folder / f'lq{suffix}'),
            'dataroot_gt': str(folder / f'gt{suffix}'),
            'io_backend': {'type': 'lmdb' if suffix else 'disk'},
            **options,
        }
    )
    return {item['gt_path'].removeprefix(f'{folder}/gt/').removesuffix('.png'): item for item in dataset}


class TestPairs:
    def test_degraded_images_follow_the_recipe(self, folder, tmp_path):
        script = [sys.executable, REPOSITORY / 'data_prep/make_pairs.py']
        arguments = ['-i', folder, '-o', tmp_path / 'pairs', '--recipe', 'full', '--seed', '7']
        subprocess.run([*script, *arguments], check=True)
        lq, gt = values(tmp_path / 'pairs/lq.lmdb'), values(tmp_path / 'pairs/gt.lmdb')
        assert gt == {
            b'a': (folder / 'a.png').read_bytes(),
            b'b%2Fx%201': (folder / 'b/x 1.jpg').read_bytes(),
            b'c': (folder / 'c.png').read_bytes(),
        }
        assert lq.keys() == gt.keys()
        degrade = build_degradation('full')
        for key, name in ((b'a', 'a'), (b'c', 'c')):
            expected = degrade(pixels(gt[key]), make_generator(7, name))
            np.testing.assert_array_equal(pixels(lq[key]), expected)
            assert np.abs(expected.astype(int) - pixels(gt[key])).mean() > 3

    @pytest.mark.parametrize('folders', [(), ('--folders',)])
    @pytest.mark.parametrize('scale', [1, 4])
    @pytest.mark.parametrize('backend', ['disk', 'lmdb'])
    def test_pairs_equal_the_items_of_degradation_dataset(self, folder, database, tmp_path, backend, folders, scale):
        from hifacegan_plugin.data import DegradationDataset

        source = database if backend == 'lmdb' else folder
        make_pairs('-i', source, '-o', tmp_path / 'pairs', '--recipe', 'full', '--seed', 3, '--scale', scale, *folders)
        pairs = host_pairs(tmp_path / 'pairs', '' if folders else '.lmdb', scale=scale)
        shown = DegradationDataset(
            {
                'name': 'val',
                'phase': 'val',
                'dataroot_gt': str(source),
                'io_backend': {'type': backend},
                'degradation': 'full',
                'seed': 3,
                'scale': scale,
            }
        )
        assert len(pairs) == len(shown) == 3
        for key, item in zip(('a', 'b%2Fx%201', 'c'), shown, strict=True):
            np.testing.assert_array_equal(pairs[key]['lq'].numpy(), item['lq'].numpy())
            np.testing.assert_array_equal(pairs[key]['gt'].numpy(), item['gt'].numpy())

    def test_pairs_of_a_database_equal_those_of_its_folder(self, folder, database, tmp_path):
        for name, source in (('one', database), ('two', folder)):
            make_pairs('-i', source, '-o', tmp_path / name, '--recipe', 'noise')
        assert contents(tmp_path / 'one') == contents(tmp_path / 'two')

    @pytest.mark.parametrize(
        ('store', 'suffix', 'keys'),
        [
            ((), '.lmdb', ['000/00000000', '001/00000000']),
            (('--folders',), '', ['000%2F00000000', '001%2F00000000']),
        ],
    )
    def test_pairs_of_a_database_of_the_host_with_folders_in_its_keys(self, folder, tmp_path, store, suffix, keys):
        make_lmdb_from_imgs(folder, str(tmp_path / 'x.lmdb'), ['a.png', 'c.png'], ['000/00000000', '001/00000000'])
        make_pairs('-i', tmp_path / 'x.lmdb', '-o', tmp_path / 'pairs', '--recipe', 'noise', *store)
        pairs = host_pairs(tmp_path / 'pairs', suffix)
        assert sorted(pairs) == keys
        for key, name in zip(keys, ('a.png', 'c.png'), strict=True):
            clean = 255 * pairs[key]['gt'].numpy().transpose(1, 2, 0)
            np.testing.assert_array_equal(clean.round(), pixels((folder / name).read_bytes()))

    def test_images_are_resized_before_they_are_degraded(self, folder, tmp_path):
        make_pairs('-i', folder, '-o', tmp_path / 'pairs', '--recipe', 'mosaic16x', '--size', 48)
        lq, gt = (pixels(values(tmp_path / f'pairs/{side}.lmdb')[b'c']) for side in ('lq', 'gt'))
        assert lq.shape == gt.shape == (48, 48, 3)
        assert (lq[:16, :16] == lq[0, 0]).all()
        original = np.asarray(Image.open(folder / 'c.png'), dtype=float)
        assert np.abs(gt - original.reshape(48, 2, 48, 2, 3).mean((1, 3))).max() <= 0.51

    def test_steps_from_the_command_line_and_from_a_file(self, folder, tmp_path):
        steps = '[{type: GaussianBlur, sigma: 2}, {type: JPEG, quality: 40}]'
        (tmp_path / 'recipe.yml').write_text(steps)
        for name, recipe in (('one', steps), ('two', tmp_path / 'recipe.yml')):
            make_pairs('-i', folder, '-o', tmp_path / name, '--recipe', recipe)
        assert contents(tmp_path / 'one') == contents(tmp_path / 'two')

    def test_damaged_images_are_missing_on_both_sides(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / 'in')
        (tmp_path / 'in/a.png').write_bytes((folder / 'a.png').read_bytes()[:-30])
        shutil.copy(folder / 'c.png', tmp_path / 'in' / os.fsdecode(b'\xff.png'))
        errors = make_pairs('-i', tmp_path / 'in', '-o', tmp_path / 'pairs', '--recipe', 'noise', status=1)
        assert '2 images rejected' in errors
        _, *rejected = (tmp_path / 'pairs.rejected.tsv').read_bytes().splitlines()
        assert rejected == [
            b'a.png\tis damaged or truncated (a PNG without an end chunk)',
            b'\xff.png\thas a name that is not valid UTF-8, and the degradation depends on it: rename it',
        ]
        assert values(tmp_path / 'pairs/lq.lmdb').keys() == values(tmp_path / 'pairs/gt.lmdb').keys()

    def test_images_that_cannot_be_degraded_are_missing_on_both_sides(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / 'in')
        Image.fromarray(np.tile(data.astronaut()[:8, :8], (1, 8192, 1))).save(tmp_path / 'in/longer_than_a_jpeg.png')
        make_pairs('-i', tmp_path / 'in', '-o', tmp_path / 'pairs', '--recipe', 'jpeg', status=1)
        _, rejected = (tmp_path / 'pairs.rejected.tsv').read_text().splitlines()
        assert rejected.startswith('longer_than_a_jpeg.png\thas 65536 x 8 pixels, cannot be degraded: ')
        assert values(tmp_path / 'pairs/lq.lmdb').keys() == values(tmp_path / 'pairs/gt.lmdb').keys()


class TestSeed:
    def test_the_result_does_not_depend_on_the_number_of_jobs(self, many, tmp_path):
        make_pairs(*many.arguments, '-o', tmp_path / 'pairs', '--jobs', 1, status=1)
        assert contents(tmp_path / 'pairs') == contents(many.pairs)

    def test_another_seed_gives_other_images(self, folder, tmp_path):
        for seed in (0, 1):
            make_pairs('-i', folder, '-o', tmp_path / str(seed), '--recipe', 'noise', '--seed', seed)
        one, two = (values(tmp_path / f'{seed}/lq.lmdb') for seed in (0, 1))
        assert one.keys() == two.keys()
        assert all(one[key] != two[key] for key in one)

    def test_an_image_does_not_depend_on_its_neighbours(self, folder, tmp_path):
        (tmp_path / 'list.txt').write_text('c.png\n')
        make_pairs('-i', folder, '-o', tmp_path / 'one', '--recipe', 'full')
        make_pairs('-i', folder, '-o', tmp_path / 'two', '--recipe', 'full', '--list', tmp_path / 'list.txt')
        assert values(tmp_path / 'two/lq.lmdb') == {b'c': values(tmp_path / 'one/lq.lmdb')[b'c']}


class Many:
    """A folder of 120 images, one of them damaged, and the pairs of an uninterrupted build."""

    def __init__(self, place):
        rng, image = np.random.default_rng(0), data.astronaut()
        (place / 'in').mkdir()
        for i in range(120):
            top, left = rng.integers(0, 448, 2)
            Image.fromarray(image[top : top + 64, left : left + 64]).save(place / f'in/{i:03d}.png')
        (place / 'in/050.png').write_bytes(b'garbage')
        self.arguments = ('-i', place / 'in', '--recipe', 'full', '--jobs', '2')
        self.pairs = place / 'pairs'
        make_pairs(*self.arguments, '-o', self.pairs, status=1)


@pytest.fixture(scope='module')
def many(tmp_path_factory):
    return Many(tmp_path_factory.mktemp('many'))


def children(pid):
    try:
        return Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    except OSError:  # the process has ended
        return []


def assert_gone(processes):
    """Check that the processes end without further action."""
    deadline = time.monotonic() + HANGS
    while time.monotonic() < deadline:
        states = [stat.read_text().split()[2] for pid in processes if (stat := Path(f'/proc/{pid}/stat')).exists()]
        if all(state == 'Z' for state in states):  # zombies: ended, but not yet reaped
            return
        time.sleep(0.05)
    raise AssertionError('workers outlive the builder')


def assert_same_pairs(found, expected):
    (files, databases), (expected_files, expected_databases) = contents(found), contents(expected)
    assert files.keys() == expected_files.keys()
    assert [name for name in files if files[name] != expected_files[name]] == []
    for name, values in expected_databases.items():
        assert databases[name].keys() == values.keys()
        assert [key for key in values if databases[name][key] != values[key]] == []


class TestKilled:
    @pytest.mark.parametrize(
        ('store', 'kills'),
        [
            ((), 3),
            (('--folders',), 2),
            pytest.param((), 20, marks=pytest.mark.heavy),
        ],
    )
    def test_at_random_moments(self, many, tmp_path, store, kills):
        """Kill the command repeatedly, each time shortly after it has written to the journal."""
        rng = random.Random(kills)
        target, journal = tmp_path / 'pairs', tmp_path / '.pairs.partial/build.jsonl'
        whole = many.pairs
        if store:
            whole = tmp_path / 'whole'
            make_pairs(*many.arguments, *store, '-o', whole, status=1)
        arguments = [*many.arguments, *store, '-o', target, '--resume']
        done = 0
        while done < kills:
            size = journal.stat().st_size if journal.exists() else 0
            builder = subprocess.Popen(
                [sys.executable, '-c', DRIVER, *map(str, arguments)], env=ENVIRONMENT, stderr=subprocess.DEVNULL
            )
            while builder.poll() is None and (journal.stat().st_size if journal.exists() else 0) <= size:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.03))
            workers = children(builder.pid)
            builder.kill()
            if builder.wait() == -signal.SIGKILL:
                done += 1
                assert_gone(workers)
            else:  # the build finished before the kill: start a new one
                assert_same_pairs(target, whole)
                shutil.rmtree(target)
        make_pairs(*arguments, status=1)
        assert_same_pairs(target, whole)
        assert not list(tmp_path.glob('.*'))

    def test_resuming_requires_the_same_recipe(self, many, tmp_path):
        target = tmp_path / 'pairs'
        make_pairs(*many.arguments, '-o', target, status=1)
        target.rename(tmp_path / '.pairs.partial')
        errors = make_pairs(*many.arguments, '-o', target, '--resume', '--recipe', 'noise', status=2)
        assert 'recipe was full, is noise' in errors


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda x: (x / 'data.mdb').unlink(), '/data.mdb is not a database'),
        (lambda x: os.truncate(x / 'data.mdb', (x / 'data.mdb').stat().st_size - 8192), '/data.mdb is truncated'),
        (lambda x: (x / 'meta_info.txt').write_text(''), ' contains no images'),
    ],
    ids=['no data', 'truncated', 'empty'],
)
@pytest.mark.parametrize('some', [False, True])
def test_a_damaged_database_is_reported(database, tmp_path, damage, message, some):
    damage(database)
    (tmp_path / 'list.txt').write_text('a\n')
    arguments = ('--list', tmp_path / 'list.txt') if some else ()
    errors = make_pairs('-i', database, '-o', tmp_path / 'pairs', '--recipe', 'noise', *arguments, status=2)
    assert f'-i {database}{message}' in errors
    assert ('make the database again' in errors) == (message != ' contains no images')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['list.txt', 'x.lmdb']


def test_missing_keys_are_rejected(database, tmp_path):
    (tmp_path / 'list.txt').write_text('a\nd.png\n')
    make_pairs('-i', database, '-o', tmp_path / 'pairs', '--recipe', 'noise', '--list', tmp_path / 'list.txt', status=1)
    (rejected,) = (tmp_path / 'pairs.rejected.tsv').read_text().splitlines()[1:]
    assert rejected.startswith('d.png\tis missing: make the database again, or correct the list')
    (database / 'data.mdb').unlink()
    with pytest.raises(ImageError, match=r'cannot be read \(.*No such file'):
        read_encoded(ImageSource(str(database), 'a'))


def test_a_list_names_the_images_of_a_database_by_key_or_as_in_its_folder(database, tmp_path):
    (tmp_path / 'list.txt').write_text('c\nb/x 1.jpg\na.png\n')
    command = ('-i', database, '-o', tmp_path / 'pairs', '--recipe', 'noise', '--list', tmp_path / 'list.txt')
    make_pairs(*command)
    assert values(tmp_path / 'pairs/gt.lmdb') == values(database)
    (tmp_path / 'list.txt').write_text('b/x 1.jpg\nb%2Fx%201\n')
    errors = make_pairs(*command, '--overwrite', status=2)
    assert f'{tmp_path}/list.txt names one image twice, as b/x 1.jpg and b%2Fx%201' in errors


def test_a_name_that_may_mean_two_keys_is_refused(folder, tmp_path):
    (tmp_path / 'in').mkdir()
    for name in ('a.png', 'a.png.jpg'):
        shutil.copy(folder / 'c.png', tmp_path / 'in' / name)
    run_command('lmdb', '-i', tmp_path / 'in', '-o', tmp_path / 'two.lmdb')
    (tmp_path / 'list.txt').write_text('a.png\n')
    listed = ('-o', tmp_path / 'pairs', '--recipe', 'noise', '--list', tmp_path / 'list.txt')
    errors = make_pairs('-i', tmp_path / 'two.lmdb', *listed, status=2)
    assert f"list.txt names 'a.png', which may be key 'a' of {tmp_path}/two.lmdb or key 'a%2Epng'" in errors


def test_the_source_is_not_overwritten(database, tmp_path):
    before = values(database)
    errors = make_pairs('-i', database, '-o', database, '--recipe', 'noise', '--overwrite', status=2)
    assert f'-o {database} is the source itself' in errors
    assert values(database) == before


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--recipe', 'noise', '--seed', '-1'], "argument --seed: '-1': expected a whole number of at least 0"),
        (['--recipe', 'nois'], "--recipe: unknown degradation recipe 'nois'. Did you mean 'noise'?"),
        (['--recipe', '{type: Blurr}'], "--recipe: unknown degradation step 'Blurr'"),
        (['--recipe', 'gone.yml'], "No such file or directory: 'gone.yml'"),
        (['--recipe', '[{'], 'argument --recipe'),
        (['--recipe', 'noise', '-i', 'gone.lmdb'], '-i gone.lmdb/meta_info.txt cannot be read'),
        (['--recipe', 'noise', '-i', 'gone'], '-i gone: no such folder'),
        (['--recipe', 'noise', '-o', '.'], '-o .: expected the name of a new folder'),
    ],
)
def test_invalid_arguments_are_reported(folder, tmp_path, arguments, message):
    errors = make_pairs('-i', folder, '-o', tmp_path / 'pairs', *arguments, status=2)
    assert message in errors
    assert not list(tmp_path.iterdir())
