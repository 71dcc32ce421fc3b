"""Tests of the command ``hifacegan lmdb``: databases, BasicSR reading them, damaged images, interrupted builds."""

import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import cv2
import lmdb
import numpy as np
import pytest
from commands_in_process import run_command
from conftest import HANGS, REPOSITORY
from PIL import Image
from png_files import chunk
from skimage import data

from hifacegan_plugin.images.decoding import decode
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.lmdb_keys import MAX_LENGTH, lmdb_keys
from hifacegan_plugin.images.opening import open_checked

DATA_PREP = REPOSITORY / 'data_prep'

# The command with a transaction for every few images, as a large data set would have. With KILL_AT, the process gets a
# signal at the n-th call of a function.
DRIVER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
from hifacegan_plugin.prepare import resumable_build
resumable_build.BATCH_BYTES = 20_000
if os.environ.get('KILL_AT'):
    name, left, kind = os.environ['KILL_AT'].split()
    owner = resumable_build.Journal if hasattr(resumable_build.Journal, name) else resumable_build
    left, original = int(left), getattr(owner, name)
    def killed(*arguments):
        global left
        left -= 1
        if left == -1:
            os.kill(os.getpid(), getattr(signal, kind))
        return original(*arguments)
    setattr(owner, name, killed)
from hifacegan_plugin.__main__ import main
sys.exit(main(['lmdb', *sys.argv[1:]]))
"""


create = partial(run_command, 'lmdb')


def drive(*arguments, status=0, kill_at='', kind='SIGKILL', **options):
    """Run the command in a subprocess, which can be killed at a given step."""
    done = subprocess.run(
        [sys.executable, '-c', DRIVER, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(REPOSITORY), 'KILL_AT': kill_at and f'{kill_at} {kind}'},
        **options,
    )
    assert done.returncode == status, done.stderr
    return done


def contents(folder):
    """Return all values by key, and the text of meta_info.txt."""
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as transaction:
        return dict(transaction.cursor()), (folder / 'meta_info.txt').read_text()


def rejected(target):
    lines = target.with_name(f'{target.name}.rejected.tsv').read_text().splitlines()
    assert lines[0] == 'file\treason'
    return dict(line.split('\t') for line in lines[1:])


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """PNG, JPEG and WebP images, some in a subfolder."""
    folder = tmp_path_factory.mktemp('images')
    astronaut, cat, coffee = data.astronaut(), data.chelsea(), data.coffee()
    save(folder / '00000.png', astronaut[:96, :96])
    save(folder / '00001.jpg', cat[:96, :96], quality=90)
    save(folder / 'more/00000.webp', coffee[:96, :96], lossless=True)
    save(folder / 'more/00002.png', astronaut[200:296, 200:328])
    (folder / 'LICENSE.txt').write_text('free')
    (folder / '.hidden.png').write_text('not looked at')
    return folder


@pytest.fixture(scope='module')
def database(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp('databases') / 'train.lmdb'
    command = [sys.executable, DATA_PREP / 'create_lmdb.py', '-i', folder, '-o', target]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 'skipped files that are not images: 1 (.txt)' in done.stdout
    return target


def host_dataset(**options):
    from basicsr.data import build_dataset

    return build_dataset({'name': 'test', 'io_backend': {'type': 'lmdb'}, **options})


class TestFormat:
    def test_files_are_copied_byte_for_byte(self, folder, database):
        values, meta_info = contents(database)
        assert values == {
            b'00000': (folder / '00000.png').read_bytes(),
            b'00001': (folder / '00001.jpg').read_bytes(),
            b'more%2F00000': (folder / 'more/00000.webp').read_bytes(),
            b'more%2F00002': (folder / 'more/00002.png').read_bytes(),
        }
        assert meta_info.splitlines() == [
            '00000.png (96,96,3) 0',
            '00001.png (96,96,3) 0',
            'more%2F00000.png (96,96,3) 0',
            'more%2F00002.png (96,128,3) 0',
        ]
        assert {'data.mdb', 'lock.mdb', 'meta_info.txt'} <= {path.name for path in database.iterdir()}
        assert sorted(path.name for path in database.parent.iterdir()) == ['train.lmdb']

    def test_the_hosts_single_image_dataset_reads_it(self, folder, database):
        dataset = host_dataset(type='SingleImageDataset', dataroot_lq=str(database))
        read = {dataset[i]['lq_path']: dataset[i]['lq'] for i in range(len(dataset))}
        assert list(read) == ['00000', '00001', 'more%2F00000', 'more%2F00002']
        expected = np.asarray(Image.open(folder / 'more/00000.webp').convert('RGB'))
        np.testing.assert_array_equal((read['more%2F00000'].numpy() * 255).round().transpose(1, 2, 0), expected)

    def test_the_hosts_paired_image_dataset_reads_it(self, folder, database, tmp_path):
        small = tmp_path / 'small.lmdb'
        create('-i', folder, '-o', small, '--size', 24)
        dataset = host_dataset(
            type='PairedImageDataset',
            dataroot_gt=str(database),
            dataroot_lq=str(small),
            scale=4,
            phase='train',
            gt_size=64,
            use_hflip=False,
            use_rot=False,
        )
        assert len(dataset) == 4
        for pair in (dataset[i] for i in range(4)):
            assert (pair['gt'].shape, pair['lq'].shape) == ((3, 64, 64), (3, 16, 16))
            # The small image is an area mean of the large one, up to JPEG artefacts, if both are cropped alike.
            means = pair['gt'].reshape(3, 16, 4, 16, 4).mean((2, 4))
            assert (means - pair['lq']).abs().mean() < 0.01

    def test_reencoded_pixels_equal_the_hosts(self, folder, tmp_path):
        from basicsr.utils.lmdb_util import make_lmdb_from_imgs

        names = ['00000.png', '00001.jpg', 'more/00002.png']
        (tmp_path / 'list.txt').write_text('\n'.join(names))
        create('-i', folder, '-o', tmp_path / 'ours.lmdb', '--reencode', '--list', tmp_path / 'list.txt')
        make_lmdb_from_imgs(str(folder), str(tmp_path / 'host.lmdb'), names, list(lmdb_keys(names).values()))
        (ours, our_lines), (host, host_lines) = contents(tmp_path / 'ours.lmdb'), contents(tmp_path / 'host.lmdb')
        assert our_lines == host_lines
        assert ours.keys() == host.keys()
        for key, value in ours.items():
            assert value.startswith(b'\x89PNG')
            np.testing.assert_array_equal(
                *(cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_UNCHANGED) for one in (value, host[key]))
            )

    def test_database_can_exceed_its_initial_map_size(self, folder, tmp_path, monkeypatch):
        from hifacegan_plugin.prepare import stores

        monkeypatch.setattr(stores, 'INITIAL_MAP_SIZE', 1 << 15)
        writer = stores.LmdbWriter(tmp_path / 'grown.lmdb')
        entries = [stores.Entry(str(i), bytes([i]) * 30_000, (1, 1, 1), 1) for i in range(40)]
        writer.write(entries[:20])
        writer.write(entries[20:])
        writer.finish([])
        writer.close()
        assert contents(tmp_path / 'grown.lmdb')[0] == {entry.key.encode(): entry.value for entry in entries}


class TestImages:
    @pytest.mark.parametrize(
        ('format', 'mode'),
        [
            *(('PNG', mode) for mode in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16', 'P with transparency')),
            *(('JPEG', mode) for mode in ('L', 'RGB', 'CMYK', 'YCbCr')),
            *(('WEBP', mode) for mode in ('L', 'RGB', 'RGBA')),
        ],
    )
    def test_shape_from_the_header_equals_opencvs(self, format, mode):
        clean_image = Image.fromarray(data.astronaut()[100:140, 200:256])
        options = {'transparency': 3} if ' ' in mode else {}
        if mode == 'I;16':
            clean_image = clean_image.convert('L')
        clean_image = clean_image.convert(mode.split()[0])
        if mode == 'RGBA':
            clean_image.putalpha(Image.fromarray(data.camera()[100:140, 200:256]))
        file = io.BytesIO()
        clean_image.save(file, format, **options)
        decoded = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
        expected = (40, 56, 1) if decoded.ndim == 2 else decoded.shape
        image = open_checked(file.getvalue())
        assert (image.format, image.shape, image.standard) == (format, expected, mode != 'CMYK')

    def test_depths_and_channels_are_kept(self, tmp_path):
        rng = np.random.default_rng(0)
        shapes = {'grey': (40, 50), 'grey16': (40, 50), 'colour16': (40, 50, 3), 'alpha': (40, 50, 4)}
        originals = {
            name: rng.integers(0, 65536 if '16' in name else 256, shape).astype('uint16' if '16' in name else 'uint8')
            for name, shape in shapes.items()
        }
        (tmp_path / 'in').mkdir()
        for name, clean_image in originals.items():
            cv2.imwrite(str(tmp_path / f'in/{name}.png'), clean_image)
        create('-i', tmp_path / 'in', '-o', tmp_path / 'x.lmdb')
        values, meta_info = contents(tmp_path / 'x.lmdb')
        for name, clean_image in originals.items():
            decoded = cv2.imdecode(np.frombuffer(values[name.encode()], np.uint8), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(decoded, clean_image)
        assert 'grey16.png (40,50,1) 0' in meta_info
        assert 'alpha.png (40,50,4) 0' in meta_info

    def test_size_copies_images_of_this_size_and_resizes_others(self, folder, tmp_path):
        big = save(tmp_path / 'in/big.png', data.astronaut()[:192, :256]).read_bytes()
        save(tmp_path / 'in/tiny.png', data.astronaut()[:24, :32])
        fitting = save(tmp_path / 'in/fitting.png', data.astronaut()[:96, :128]).read_bytes()
        create('-i', tmp_path / 'in', '-o', tmp_path / 'x.lmdb', '--size', 96)
        values, meta_info = contents(tmp_path / 'x.lmdb')
        assert meta_info == 'big.png (96,128,3) 1\nfitting.png (96,128,3) 0\ntiny.png (96,128,3) 1\n'
        assert values[b'fitting'] == fitting
        original = np.asarray(Image.open(io.BytesIO(big)), dtype=float)
        means = original.reshape(96, 2, 128, 2, 3).mean((1, 3))
        assert np.abs(np.asarray(Image.open(io.BytesIO(values[b'big'])), dtype=float) - means).max() <= 0.51

    def test_crops_cover_the_image(self, tmp_path):
        clean_image = data.astronaut()[:100, :150]
        path = save(tmp_path / 'in/x.png', clean_image)
        save(tmp_path / 'in/small.png', clean_image[:40])
        save(tmp_path / 'in/tall.png', clean_image[:64, :48])
        exact = save(tmp_path / 'in/y.png', clean_image[:64, :64]).read_bytes()
        create('-i', path.parent, '-o', tmp_path / 'x.lmdb', '--crop-size', 64, '--step', 48, status=1)
        values, _ = contents(tmp_path / 'x.lmdb')
        assert values.pop(b'y_s001') == exact
        assert rejected(tmp_path / 'x.lmdb') == {
            'small.png': 'has 150 x 40 pixels, less than the crop of 64',
            'tall.png': 'has 48 x 64 pixels, less than the crop of 64',
        }
        corners = [(top, left) for top in (0, 36) for left in (0, 48, 86)]
        assert list(values) == [f'x_s{i:03d}'.encode() for i in range(1, 7)]
        for value, (top, left) in zip(values.values(), corners, strict=True):
            crop = np.asarray(Image.open(io.BytesIO(value)))
            np.testing.assert_array_equal(crop, clean_image[top : top + 64, left : left + 64])


class TestKeys:
    def test_plain_names_are_kept(self):
        assert lmdb_keys(['00001.png', 'a_b-c.jpg']) == {'00001.png': '00001', 'a_b-c.jpg': 'a_b-c'}

    def test_lines_of_a_list_that_are_no_file_names_have_keys(self):
        assert lmdb_keys(['.', '/', '..']) == {'.': '%2E', '/': '%2F', '..': '%2E%2E'}

    def test_the_host_can_read_every_key(self):
        names = [
            'a b.png',
            'a.b.png',
            'ä/日本.png',
            'a/b.png',
            'a%2Fb.png',
            'a+b.png',
            '(1).png',
            'no_suffix',
            os.fsdecode(b'\xff\xfe.png'),
            'tab\t.png',
            "quote'.png",
            'x' * 250 + '.png',
            '語' * 80 + '.png',
        ]
        keys = lmdb_keys(names)
        assert len(set(keys.values())) == len(names)
        for name, key in keys.items():
            line = f'{key}.png (1,1,3) 1'
            assert line.split('.')[0] == line.split(' ')[0].removesuffix('.png') == key
            assert key.encode('ascii')
            assert Path(key).name == key, 'the host uses the last component as the name of a saved image'
            assert len(key) <= MAX_LENGTH
            if len(key) < MAX_LENGTH:
                assert unquote(key, errors='surrogateescape') == name.removesuffix('.png')

    @pytest.mark.parametrize(
        'names',
        [
            ['a.png', 'a.jpg'],
            ['a.png', 'a.jpg', 'a.png.webp', 'a.jpg.png'],
            ['a/b.png', 'a%2Fb.png', 'a/b.jpg'],
            ['語' * 80 + '.png', '語' * 80 + '.jpg', '語' * 81 + '.png'],
        ],
    )
    def test_no_two_names_share_a_key(self, names):
        keys = lmdb_keys(names)
        assert len(set(keys.values())) == len(names)
        assert lmdb_keys(names) == keys
        assert all(re.fullmatch('[A-Za-z0-9_~%-]+', key) for key in keys.values())

    def test_the_host_reads_images_with_unusual_names(self, tmp_path):
        names = ['ünïcödé 顔.png', 'v1.2.final.png', 'sub dir/a b.png', 'same.png', 'same.jpg', '顔' * 70 + '.png']
        for i, name in enumerate(names):
            save(tmp_path / 'in' / name, np.full((32, 32, 3), 40 * i, np.uint8))
        create('-i', tmp_path / 'in', '-o', tmp_path / 'x.lmdb')
        dataset = host_dataset(type='SingleImageDataset', dataroot_lq=str(tmp_path / 'x.lmdb'))
        levels = sorted(round(float(dataset[i]['lq'].mean()) * 255) for i in range(len(names)))
        assert levels == [0, 40, 80, 120, 160, 200]


@pytest.fixture(scope='module')
def damaged(tmp_path_factory):
    """A valid image, and damaged files with the reasons for their rejection."""
    folder = tmp_path_factory.mktemp('damaged')
    clean_image = data.astronaut()[:96, :96]
    png = save(folder / 'good.png', clean_image).read_bytes()
    jpeg = save(folder / 'x.jpg', clean_image, quality=90).read_bytes()
    thumbnail = Image.Exif()
    thumbnail[0x010E] = 'a comment with an end marker in it: \xff\xd9'
    tagged = save(folder / 'x.jpg', clean_image, exif=thumbnail).read_bytes()
    webp = save(folder / 'x.webp', clean_image).read_bytes()
    tiff = save(folder / 'x.tif', clean_image).read_bytes()
    bomb = save(folder / 'x.png', np.zeros((2000, 2001), np.uint8)).read_bytes()
    for path in folder.glob('x.*'):
        path.unlink()
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 1
    expected = {
        'bomb.png': (bomb, 'has 2001 x 2000 pixels, more than the limit of 1,000,000'),
        'empty.png': (b'', 'is empty (0 bytes)'),
        'flipped.png': (flipped, 'is damaged (wrong checksum in the PNG chunk IDAT)'),
        'garbage.png': (os.urandom(5000), 'is not an image, or of no known format'),
        'huge.png': (b'\0' * 25_000_000, 'has 25,000,000 bytes, more than 1,000,000 pixels can take'),
        'text.jpg': (b'<html>404</html>', 'is not an image, or of no known format'),
        'truncated.jpg': (jpeg[:-200], 'is damaged or truncated'),
        'truncated.png': (png[:-20], 'is damaged or truncated (a PNG without an end chunk)'),
        'truncated.tif': (tiff[: len(tiff) // 2], 'is damaged or truncated'),
        'truncated.webp': (webp[:-9], 'is damaged or truncated'),
        'truncated_tagged.jpg': (tagged[:-200], 'is damaged or truncated'),
    }
    for name, (content, _) in expected.items():
        (folder / name).write_bytes(content)
    return folder, {name: reason for name, (_, reason) in expected.items()}


class TestRejected:
    @pytest.mark.parametrize('how', [(), ('--reencode',)])
    def test_damaged_files_are_listed_with_a_reason(self, damaged, tmp_path, how):
        folder, reasons = damaged
        target = tmp_path / 'x.lmdb'
        done = create('-i', folder, '-o', target, '--max-pixels', 1_000_000, *how, status=1)
        assert f'{len(reasons)} images rejected' in done.stderr
        listed = rejected(target)
        assert listed.keys() == reasons.keys()
        for name, reason in reasons.items():
            assert listed[name].startswith(reason)
        assert list(contents(target)[0]) == [b'good']

    def test_a_file_that_resizing_makes_too_large_is_rejected(self, tmp_path):
        save(tmp_path / 'in/good.png', data.astronaut()[:96, :96])
        save(tmp_path / 'in/line.png', data.astronaut()[:1])
        create('-i', tmp_path / 'in', '-o', tmp_path / 'x.lmdb', '--size', 64, '--max-pixels', 1_000_000, status=1)
        assert rejected(tmp_path / 'x.lmdb') == {'line.png': 'has 512 x 1 pixels, and more than 1,000,000 once resized'}

    def test_every_flipped_bit_in_a_png_is_detected(self, folder):
        original, rng = (folder / '00000.png').read_bytes(), random.Random(0)
        assert open_checked(original).shape == (96, 96, 3)
        for _ in range(300):
            damaged = bytearray(original)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            with pytest.raises(ImageError):
                open_checked(bytes(damaged))

    @pytest.mark.filterwarnings('ignore::UserWarning')
    @pytest.mark.parametrize('format', ['JPEG', 'WEBP', 'TIFF', 'GIF', 'BMP', 'AVIF', 'JPEG2000'])
    def test_damaged_files_raise_only_image_errors(self, format):
        file, rng = io.BytesIO(), random.Random(0)
        Image.fromarray(data.astronaut()[:64, :64]).save(file, format)
        for _ in range(100):
            damaged = bytearray(file.getvalue())
            for _ in range(rng.choice((1, 3, 20))):
                damaged[rng.randrange(min(len(damaged), rng.choice((40, 300, 10_000))))] = rng.randrange(256)
            with contextlib.suppress(ImageError):
                decode(open_checked(bytes(damaged), 10**6))

    def test_decompression_bombs_are_not_decoded(self, tmp_path):
        # 16,000 x 16,000 pixels: 1 MB as a file, 256 MB decoded.
        packer = zlib.compressobj(1)
        packed = b''.join(packer.compress(bytes(16_001) * 100) for _ in range(160)) + packer.flush()
        size = (16_000).to_bytes(4, 'big')
        bomb = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', size + size + bytes([8, 0, 0, 0, 0]))
        good = save(tmp_path / 'in/good.png', data.astronaut()[:96, :96])
        (tmp_path / 'in/bomb.png').write_bytes(bomb + chunk(b'IDAT', packed) + chunk(b'IEND'))

        def peak(target, *how):
            measure = f"""
import pathlib, re
from hifacegan_plugin.__main__ import main
main(['lmdb', '-i', {str(good.parent)!r}, '-o', {str(target)!r}, '--reencode', *{how!r}])
print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])
"""
            done = subprocess.run(
                [sys.executable, '-c', measure],
                capture_output=True,
                text=True,
                env={**os.environ, 'PYTHONPATH': str(REPOSITORY)},
            )
            return int(done.stdout.split()[-1])

        refused, taken = peak(tmp_path / 'x.lmdb'), peak(tmp_path / 'y.lmdb', '--max-pixels', '300000000')
        assert taken - refused > 200_000
        reason = 'has 16000 x 16000 pixels, more than the limit of 150,000,000'
        assert rejected(tmp_path / 'x.lmdb') == {'bomb.png': reason}
        assert list(contents(tmp_path / 'y.lmdb')[0]) == [b'bomb', b'good']

    def test_a_later_run_without_rejected_images_deletes_the_list(self, damaged, tmp_path):
        folder, _ = damaged
        create('-i', folder, '-o', tmp_path / 'x.lmdb', status=1)
        (tmp_path / 'list.txt').write_text('good.png\n')
        create('-i', folder, '-o', tmp_path / 'x.lmdb', '--overwrite', '--list', tmp_path / 'list.txt')
        assert not (tmp_path / 'x.lmdb.rejected.tsv').exists()

    def test_nothing_is_built_if_all_images_are_rejected(self, tmp_path):
        (tmp_path / 'in').mkdir()
        (tmp_path / 'in/a.png').write_bytes(b'no')
        done = create('-i', tmp_path / 'in', '-o', tmp_path / 'x.lmdb', status=2)
        assert 'none of the 1 images could be used' in done.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ['in', 'x.lmdb.rejected.tsv']


class TestBadInput:
    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            (['-i', 'nowhere', '-o', 'x.lmdb'], '-i nowhere: no such folder'),
            (['-i', 'in/a.png', '-o', 'x.lmdb'], '-i in/a.png: expected a folder, not a file'),
            (['-i', 'empty', '-o', 'x.lmdb'], 'empty contains no images'),
            (['-i', 'in', '-o', 'x'], 'the name must end in .lmdb'),
            (['-i', 'in', '-o', 'x.lmdb', '--shard', '5/4'], "'5/4': expected I/N"),
            (['-i', 'in', '-o', 'x.lmdb', '--size', '0'], "'0': expected a whole number of at least 1"),
            (['-i', 'in', '-o', 'x.lmdb', '--step', '9'], '--step needs --crop-size'),
            (['-i', 'in', '-o', 'x.lmdb', '--list', 'missing.txt'], 'missing.txt: No such file'),
            (['-i', 'in', '-o', 'x.lmdb', '--list', 'twice.txt'], 'twice.txt names a.png more than once'),
            (['-i', 'in', '-o', 'in/a.png/x.lmdb'], 'in/a.png is a file, not a folder: name a folder, or move the'),
        ],
    )
    def test_it_is_reported(self, tmp_path, monkeypatch, arguments, message):
        save(tmp_path / 'in/a.png', data.astronaut()[:32, :32])
        (tmp_path / 'empty').mkdir()
        (tmp_path / 'twice.txt').write_text('a.png\na.png\n')
        monkeypatch.chdir(tmp_path)
        assert message in create(*arguments, status=2).stderr
        assert not (tmp_path / 'x.lmdb').exists()

    def test_a_listed_file_that_is_missing_is_rejected(self, folder, tmp_path):
        (tmp_path / 'list.txt').write_text('00000.png\ngone.png\n')
        create('-i', folder, '-o', tmp_path / 'x.lmdb', '--list', tmp_path / 'list.txt', status=1)
        assert rejected(tmp_path / 'x.lmdb') == {'gone.png': 'cannot be read (No such file or directory)'}

    def test_a_list_may_begin_with_a_byte_order_mark(self, folder, tmp_path):
        (tmp_path / 'list.txt').write_text('00000.png\r\n00001.jpg\r\n', encoding='utf-8-sig')
        create('-i', folder, '-o', tmp_path / 'x.lmdb', '--list', tmp_path / 'list.txt')
        assert list(contents(tmp_path / 'x.lmdb')[0]) == [b'00000', b'00001']

    def test_a_list_in_utf_16_is_refused(self, folder, tmp_path):
        (tmp_path / 'list.txt').write_text('00000.png\n', encoding='utf-16')
        done = create('-i', folder, '-o', tmp_path / 'x.lmdb', '--list', tmp_path / 'list.txt', status=2)
        assert f'{tmp_path}/list.txt is not UTF-8 text' in done.stderr

    def test_a_pipe_is_rejected_without_reading_it(self, tmp_path):
        save(tmp_path / 'in/a.png', data.astronaut()[:32, :32])
        os.mkfifo(tmp_path / 'in/pipe.png')
        drive('-i', tmp_path / 'in', '-o', tmp_path / 'x.lmdb', status=1, timeout=HANGS)
        assert rejected(tmp_path / 'x.lmdb') == {'pipe.png': 'is not a regular file'}


class TestTarget:
    def test_an_existing_database_is_replaced_only_with_overwrite(self, folder, database, tmp_path):
        target = tmp_path / 'x.lmdb'
        create('-i', folder, '-o', target)
        before = contents(target)
        assert '--overwrite replaces it' in create('-i', folder, '-o', target, status=2).stderr
        assert contents(target) == before
        create('-i', folder, '-o', target, '--overwrite', '--reencode')
        assert contents(target)[1] == before[1].replace(') 0', ') 1')
        assert [path.name for path in tmp_path.iterdir()] == ['x.lmdb']

    def test_a_half_deleted_old_database_is_removed(self, folder, database, tmp_path):
        target = tmp_path / 'x.lmdb'
        shutil.copytree(database, target)
        shutil.copytree(database, tmp_path / '.x.lmdb.old')
        (tmp_path / '.x.lmdb.old/data.mdb').unlink()
        create('-i', folder, '-o', target, '--overwrite', '--reencode')
        assert contents(target)[1] == contents(database)[1].replace(') 0', ') 1')
        assert [path.name for path in tmp_path.iterdir()] == ['x.lmdb']

    def test_overwrite_does_not_replace_other_folders(self, folder, tmp_path):
        photos = tmp_path / 'photos.lmdb'
        photos.mkdir()
        (photos / 'holiday.png').write_text('dear')
        assert 'is not a data set' in create('-i', folder, '-o', photos, '--overwrite', status=2).stderr
        assert (photos / 'holiday.png').exists()

    def test_resuming_a_complete_build_does_nothing(self, folder, database):
        before = (database / 'data.mdb').stat()
        create('-i', folder, '-o', database, '--resume')
        assert (database / 'data.mdb').stat().st_mtime_ns == before.st_mtime_ns

    def test_a_target_that_is_being_built_is_refused(self, folder, tmp_path):
        target = tmp_path / 'x.lmdb'
        holder = f"""
import sys, time
from pathlib import Path
from hifacegan_plugin.prepare import resumable_build
with resumable_build.open_journal(Path({str(tmp_path / '.x.lmdb.partial')!r}), Path('x.lmdb')):
    print('held', flush=True)
    sys.stdin.read()
"""
        with subprocess.Popen([sys.executable, '-c', holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
            assert first.stdout.readline() == b'held\n'
            for how in ([], ['--resume'], ['--overwrite']):
                done = create('-i', folder, '-o', target, *how, status=2)
                assert 'another process is building' in done.stderr
            first.stdin.close()
        create('-i', folder, '-o', target)

    def test_of_two_concurrent_builds_one_succeeds(self, folder, database, tmp_path):
        command = [sys.executable, DATA_PREP / 'create_lmdb.py', '-i', folder, '-o', tmp_path / 'x.lmdb']
        builders = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        errors = [builder.communicate()[1] for builder in builders]
        assert sorted(builder.returncode for builder in builders) == [0, 2], errors
        assert contents(tmp_path / 'x.lmdb') == contents(database)


class TestShards:
    def test_shards_partition_the_images(self, folder, database, tmp_path):
        values, lines = {}, []
        for number in (1, 2, 3):
            create('-i', folder, '-o', tmp_path / 'x.lmdb', '--shard', f'{number}/3')
            shard_values, meta_info = contents(tmp_path / f'x.{number}-of-3.lmdb')
            assert not values.keys() & shard_values.keys()
            values |= shard_values
            lines += meta_info.splitlines()
        whole, meta_info = contents(database)
        assert values == whole
        assert sorted(lines) == sorted(meta_info.splitlines())

    def test_degradation_dataset_reads_them_as_one(self, folder, database, tmp_path):
        from hifacegan_plugin.data import DegradationDataset

        for number in (1, 2):
            create('-i', folder, '-o', tmp_path / 'x.lmdb', '--shard', f'{number}/2')
        options = {'name': 'x', 'phase': 'val', 'degradation': [], 'io_backend': {'type': 'lmdb'}}
        shards, whole = (
            {item['gt_path']: item['gt'] for item in DegradationDataset({**options, 'dataroot_gt': root})}
            for root in (str(tmp_path / 'x.*-of-2.lmdb'), str(database))
        )
        assert shards.keys() == whole.keys()
        assert all((shards[key] == whole[key]).all() for key in whole)

    def test_more_shards_than_images(self, folder, tmp_path):
        done = create('-i', folder, '-o', tmp_path / 'x.lmdb', '--shard', '9/9', status=2)
        assert '--shard 9/9: 4 images are too few' in done.stderr


@pytest.fixture(scope='module')
def many(tmp_path_factory):
    """A folder of 240 images, one of them damaged, and the database of an uninterrupted build."""
    place = tmp_path_factory.mktemp('many')
    clean_image, rng = data.astronaut(), np.random.default_rng(0)
    for i in range(240):
        top, left = rng.integers(0, 448, 2)
        save(place / f'in/{i:03d}.png', clean_image[top : top + 48, left : left + 48])
    (place / 'in/100.png').write_bytes(b'garbage')
    drive('-i', place / 'in', '-o', place / 'whole.lmdb', '--reencode', status=1)
    return place


def assert_same_result(target, whole):
    assert contents(target) == contents(whole)
    assert (target / 'checksums.txt').read_text() == (whole / 'checksums.txt').read_text()
    assert rejected(target) == rejected(whole)
    records = [[json.loads(line) for line in (one / 'build.jsonl').open()] for one in (target, whole)]
    assert records[0] == records[1]
    assert not list(target.parent.glob('.*'))


class TestKilled:
    @pytest.mark.parametrize(
        'moment',
        [
            'append 0',
            'append 1',
            'append 7',
            '_report 0',
            '_rename 0',
            '_record 0',
            '_record 150',
            'clear 0',
        ],
    )
    def test_at_each_step(self, many, tmp_path, moment):
        arguments = ('-i', many / 'in', '-o', tmp_path / 'x.lmdb', '--reencode')
        drive(*arguments, kill_at=moment, status=-signal.SIGKILL)
        assert not (tmp_path / 'x.lmdb').exists()
        drive(*arguments, '--resume', status=1)
        assert_same_result(tmp_path / 'x.lmdb', many / 'whole.lmdb')

    def test_ctrl_c_says_how_to_continue(self, many, tmp_path):
        arguments = ('-i', many / 'in', '-o', tmp_path / 'x.lmdb', '--reencode')
        errors = drive(*arguments, kill_at='append 5', kind='SIGINT', status=130).stderr
        assert 'with --resume, the same command continues' in errors
        assert 'Traceback' not in errors
        drive(*arguments, '--resume', status=1)
        assert_same_result(tmp_path / 'x.lmdb', many / 'whole.lmdb')

    def test_resuming_does_not_repeat_finished_work(self, many, tmp_path):
        shutil.copytree(many / 'in', tmp_path / 'in')
        arguments = ('-i', tmp_path / 'in', '-o', tmp_path / 'x.lmdb', '--reencode')
        drive(*arguments, kill_at='append 7', status=-signal.SIGKILL)
        save(tmp_path / 'in/000.png', np.zeros((9, 9), np.uint8))
        drive(*arguments, '--resume', status=1)
        assert_same_result(tmp_path / 'x.lmdb', many / 'whole.lmdb')

    def test_without_resume_an_interrupted_build_is_kept(self, many, tmp_path):
        arguments = ('-i', many / 'in', '-o', tmp_path / 'x.lmdb', '--reencode')
        drive(*arguments, kill_at='append 5', status=-signal.SIGKILL)
        assert 'continue with --resume or start over with --overwrite' in create(*arguments, status=2).stderr
        create(*arguments, '--overwrite', status=1)
        assert contents(tmp_path / 'x.lmdb') == contents(many / 'whole.lmdb')

    def test_resuming_requires_the_same_options_and_images(self, many, tmp_path):
        arguments = ('-i', many / 'in', '-o', tmp_path / 'x.lmdb')
        drive(*arguments, '--reencode', kill_at='append 5', status=-signal.SIGKILL)
        done = create(*arguments, '--size', 40, '--resume', status=2)
        assert 'size was None, is 40' in done.stderr
        (tmp_path / 'list.txt').write_text('000.png\n')
        done = create(*arguments, '--reencode', '--resume', '--list', tmp_path / 'list.txt', status=2)
        assert 'another list of images' in done.stderr

    def test_overwrite_keeps_the_old_database_until_the_new_one_is_complete(self, many, tmp_path):
        target = tmp_path / 'x.lmdb'
        create('-i', many / 'in', '-o', target, '--reencode', '--compression-level', 9, status=1)
        before = contents(target)
        arguments = ('-i', many / 'in', '-o', target, '--reencode')
        drive(*arguments, '--overwrite', kill_at='append 5', status=-signal.SIGKILL)
        assert contents(target) == before
        drive(*arguments, '--resume', status=1)
        assert contents(target) == contents(many / 'whole.lmdb')


class TestDiskFull:
    def test_it_is_reported_and_the_build_can_be_resumed(self, many, tmp_path):
        arguments = ('-i', many / 'in', '-o', tmp_path / 'x.lmdb', '--reencode')

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

        done = drive(*arguments, status=2, preexec_fn=limit)
        assert 'cannot write' in done.stderr
        assert 'MB free on its disk' in done.stderr
        assert 'with --resume' in done.stderr
        assert 'Traceback' not in done.stderr
        assert not (tmp_path / 'x.lmdb').exists()
        assert len((tmp_path / '.x.lmdb.partial/build.jsonl').read_text().splitlines()) > 20
        drive(*arguments, '--resume', status=1)
        assert_same_result(tmp_path / 'x.lmdb', many / 'whole.lmdb')


def test_help():
    text = create('--help').stdout
    for word in ('hifacegan lmdb -i', '--resume', '--reencode', '--shard', 'Exit status'):
        assert word in text
