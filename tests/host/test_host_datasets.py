"""Tests of untrusted files in the host's data sets."""

import struct
import subprocess
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from basicsr.data.data_util import read_img_seq
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils import FileClient, imfrombytes
from basicsr.utils.lmdb_util import read_img_worker
from png_files import chunk

from hifacegan_plugin.images.image_error import ImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)


def png(before: bytes = b'', behind: bytes = b'', pixels: np.ndarray = PIXELS) -> bytes:
    """Encode a PNG with additional chunks before and after its pixels."""
    encoded = cv2.imencode('.png', pixels)[1].tobytes()
    return encoded[:33] + before + encoded[33:-12] + behind + encoded[-12:]


CONTROL = chunk(b'acTL', struct.pack('>II', 2, 0))
FRAME = chunk(b'fcTL', struct.pack('>IIIIIHHBB', 0, 16, 12, 0, 0, 1, 10, 0, 0)) + chunk(b'fdAT')
ANIMATED = png(CONTROL, FRAME)  # OpenCV 5.0 crashes because the second frame is empty
UNANNOUNCED = png(behind=FRAME)  # without an animation header, so it is a still image

READS = """
import sys
from pathlib import Path
import basicsr, hifacegan_plugin
from basicsr.utils import imfrombytes
for name in sys.argv[1:]:
    try:
        print(imfrombytes(Path(name).read_bytes()).shape)
    except ValueError as error:
        print(error)
"""


def test_crafted_png_files_do_not_crash_the_process(tmp_path):
    contents = {'animated.png': ANIMATED, 'unannounced.png': UNANNOUNCED}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, '-c', READS, *contents]
    result = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        'An image is animated or has several pages: split it into single images',
        '(12, 16, 3)',
    ]


@pytest.fixture
def folders(tmp_path) -> dict[str, Path]:
    """Folders of ground truth and LQ images; one image is animated."""
    made = {name: tmp_path / name for name in ('gt', 'lq')}
    for folder in made.values():
        folder.mkdir()
        for name, content in {'a.png': png(), 'b.png': ANIMATED}.items():
            (folder / name).write_bytes(content)
    return made


def paired(gt: Path, lq: Path, **backend: object) -> PairedImageDataset:
    """Build the host's data set for validation."""
    return PairedImageDataset(
        {'phase': 'val', 'scale': 1, 'dataroot_gt': str(gt), 'dataroot_lq': str(lq), 'io_backend': backend}
    )


def test_the_hosts_dataset_reports_animated_files(folders):
    dataset = paired(**folders, type='disk')
    shown = (dataset[0]['gt'].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    assert np.array_equal(shown[..., ::-1], PIXELS)
    with pytest.raises(ImageError, match=r'gt/b\.png is animated'):
        dataset[1]


def test_the_hosts_dataset_reports_animated_images_in_databases(tmp_path):
    databases = [tmp_path / 'gt.lmdb', tmp_path / 'lq.lmdb']
    for database, animated in zip(databases, (ANIMATED, png()), strict=True):
        with lmdb.open(str(database)) as environment, environment.begin(write=True) as transaction:
            transaction.put(b'a', png())
            transaction.put(b'b', animated)
        (database / 'meta_info.txt').write_text('a.png (12,16,3) 1\nb.png (12,16,3) 1\n')
    dataset = paired(*databases, type='lmdb')
    assert dataset[0]['gt'].shape == (3, 12, 16)
    with pytest.raises(ImageError, match=r'^b is animated'):
        dataset[1]


def test_other_readers_of_the_host_report_animated_files(folders):
    assert read_img_seq([str(folders['gt'] / 'a.png')]).shape == (1, 3, 12, 16)
    with pytest.raises(ImageError, match=r'gt/b\.png is animated'):
        read_img_seq([str(folders['gt'] / 'b.png')])
    with pytest.raises(ImageError, match=r'gt/b\.png is animated'):
        read_img_worker(str(folders['gt'] / 'b.png'), 'b', compress_level=1)


@pytest.mark.parametrize('flag', ['color', 'grayscale', 'unchanged'])
@pytest.mark.parametrize(
    ('suffix', 'pixels'),
    [
        ('.png', PIXELS),
        ('.png', PIXELS[..., 0]),
        ('.png', PIXELS.astype(np.uint16) * 257),
        ('.png', np.dstack([PIXELS, PIXELS[..., :1]])),
        ('.jpg', PIXELS),
        ('.webp', PIXELS),
        ('.bmp', PIXELS),
        ('.tif', PIXELS.astype(np.float32)),
    ],
    ids=['RGB', 'grey', '16 bits', 'RGBA', 'JPEG', 'WebP', 'BMP', 'float TIFF'],
)
def test_other_images_are_decoded_as_by_the_host(suffix, pixels, flag):
    encoded = cv2.imencode(suffix, pixels)[1]
    of_opencv = {'color': cv2.IMREAD_COLOR, 'grayscale': cv2.IMREAD_GRAYSCALE, 'unchanged': cv2.IMREAD_UNCHANGED}[flag]
    assert np.array_equal(imfrombytes(encoded.tobytes(), flag), cv2.imdecode(encoded, of_opencv))


def test_other_files_are_read_as_by_the_host(tmp_path):
    (tmp_path / 'meta_info.txt').write_bytes(b'a.png (12,16,3) 1\n')
    assert FileClient('disk').get(tmp_path / 'meta_info.txt') == b'a.png (12,16,3) 1\n'
