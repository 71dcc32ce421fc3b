"""Tests of ``hifacegan app`` through Gradio's client."""

import io
import json
import re
import shutil
import signal
import socket
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from conftest import HANGS
from PIL import Image, ImageCms
from png_files import png_bomb
from served_page import serve_page
from skimage import data

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.weights import PACKAGED

gradio_client = pytest.importorskip('gradio_client')
pytest.importorskip('gradio')

MAX_MEGABYTES = 2


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp('app')
    shutil.copy(PACKAGED['faces'], folder / 'mine.safetensors')
    served = serve_page(
        folder, '-w', str(folder / 'mine.safetensors'), '--max-megabytes', str(MAX_MEGABYTES), '--max-megapixels', '1'
    )
    yield served
    served.process.kill()
    served.process.communicate()


def open_client(page, download_files):
    """Return a client with a long timeout, because on a timeout of its heartbeat, the server ends the session."""
    options = {'verbose': False, 'analytics_enabled': False, 'httpx_kwargs': {'timeout': HANGS}}
    return gradio_client.Client(page.url, download_files=download_files, **options)


@pytest.fixture(scope='module')
def client(page, tmp_path_factory):
    folder = tmp_path_factory.mktemp('downloads')
    client = open_client(page, folder)
    yield client
    client.close()


def arguments(files, what='whole image', network='general', face_network='faces', strength=1, keep_identity=False):
    """Return the arguments of the buttons' handlers."""
    return (
        [gradio_client.handle_file(str(file)) for file in files],
        what,
        network,
        face_network,
        strength,
        keep_identity,
    )


def restore(client, *files, api_name='/restore', **settings):
    return client.predict(*arguments(files, **settings), api_name=api_name)


def rows(table):
    """Return the results in a table by file name."""
    return dict(table['data'])


@pytest.fixture
def photo():
    return np.ascontiguousarray(data.astronaut()[60:160, 180:280])


@pytest.fixture
def photographs(photo, tmp_path):
    """Files of several formats, with the metadata that the page must keep."""
    folder = tmp_path / 'photographs'
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0110] = 'A camera'
    exif[0x0112] = 6  # rotated
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    Image.fromarray(photo).save(folder / 'turned.jpg', exif=exif, icc_profile=profile, dpi=(300, 300))
    cv2.imwrite(str(folder / 'deep.png'), photo[..., ::-1].astype(np.uint16) * 257)
    alpha = np.full((*photo.shape[:2], 1), 128, np.uint8)
    Image.fromarray(np.concatenate([photo, alpha], axis=2)).save(folder / 'alpha.webp', lossless=True)
    Image.fromarray(photo).convert('L').save(folder / 'grey.tif')
    Image.fromarray(photo).save(folder / 'palette.gif')
    return folder


@pytest.mark.parametrize(
    ('settings', 'options'),
    [
        ({}, ['--model', 'general']),
        ({'network': 'mine.safetensors', 'strength': 0.5}, ['--model', 'faces', '--strength', '0.5']),
    ],
)
def test_results_equal_those_of_the_command(settings, options, client, photographs, tmp_path):
    names = sorted(path.name for path in photographs.iterdir())
    _, results, table = restore(client, *(photographs / name for name in names), **settings)
    assert main(['restore', '-i', str(photographs), '-o', str(tmp_path / 'expected'), *options]) == 0
    expected = {path.name: path.read_bytes() for path in (tmp_path / 'expected').iterdir()}
    assert {Path(result).name: Path(result).read_bytes() for result in results} == expected
    assert rows(table) == dict.fromkeys(names, 'restored')


def test_faces_equal_those_of_the_command(client, tmp_path):
    pytest.importorskip('dlib')
    Image.fromarray(data.astronaut()[:256, 96:352]).save(tmp_path / 'portrait.png')
    _, (result,), table = restore(client, tmp_path / 'portrait.png', what='both')
    _, faces = client.predict(0, api_name='/show')
    command = ['restore', '-i', str(tmp_path / 'portrait.png'), '-o', str(tmp_path / 'expected.png'), '--faces']
    assert main([*command, '--report', str(tmp_path / 'report')]) == 0
    assert Path(result).read_bytes() == (tmp_path / 'expected.png').read_bytes()
    reported = json.loads((tmp_path / 'report').read_text())
    distance = f'{reported["identity_distance"]:.2f}'
    left, top = (round(side) for side in reported['box'][:2])
    assert rows(table) == {'portrait.png': f'restored, with one face (identity distance up to {distance})'}
    assert faces['value']['data'] == [[1, left, top, round(reported['size']), distance]]


def test_the_slider_shows_upright_images(client, photographs, photo):
    restore(client, photographs / 'turned.jpg')
    (before, after), _ = client.predict(0, api_name='/show')
    upright = np.rot90(photo, -1)
    with Image.open(before) as shown, Image.open(after) as restored:
        assert np.abs(np.asarray(shown).astype(int) - upright).mean() < 6
        assert restored.size == shown.size
        assert not np.array_equal(shown, restored)
        assert shown.info['icc_profile'] == restored.info['icc_profile']
        assert not shown.getexif()


def test_batch_results_are_zipped(client, photographs, photo, tmp_path):
    """Two of the files have the same name."""
    (tmp_path / 'other').mkdir()
    Image.fromarray(photo[::-1]).save(tmp_path / 'other/grey.tif')
    (tmp_path / 'other/broken.jpg').write_bytes((photographs / 'turned.jpg').read_bytes()[:500])
    files = [*photographs.iterdir(), *(tmp_path / 'other').iterdir()]
    table, archive = restore(client, *files, api_name='/restore_batch')
    results = rows(table)
    assert 'truncated' in results.pop('broken.jpg')
    assert results == dict.fromkeys(
        ['turned.jpg', 'deep.png', 'alpha.webp', 'grey.tif', 'grey (2).tif', 'palette.gif'], 'restored'
    )
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        assert sorted(file.namelist()) == [
            'alpha.webp', 'deep.png', 'grey (2).tif', 'grey.tif', 'palette.png', 'turned.jpg'
        ]  # fmt: skip
        shapes = {np.asarray(Image.open(io.BytesIO(file.read(name)))).shape for name in ('grey.tif', 'grey (2).tif')}
    assert shapes == {photo.shape, photo.shape[:2]}


def test_invalid_images_are_reported(client, photo, tmp_path):
    (tmp_path / 'bomb.png').write_bytes(png_bomb(60_000, 60_000))
    (tmp_path / 'text.png').write_text('no image')
    (tmp_path / 'empty.jpg').touch()
    Image.fromarray(photo).save(tmp_path / 'moving.gif', save_all=True, append_images=[Image.fromarray(photo[::-1])])
    Image.fromarray(photo).save(tmp_path / 'good.png')
    files = [tmp_path / name for name in ('bomb.png', 'text.png', 'empty.jpg', 'moving.gif', 'good.png')]
    _, results, table = restore(client, *files)
    assert [Path(result).name for result in results] == ['good.png']
    found = rows(table)
    assert found.pop('good.png') == 'restored'
    reasons = {
        'bomb.png': r'60000 x 60000 pixels, more than the limit of 1,000,000',
        'text.png': 'is not an image',
        'empty.jpg': 'is empty',
        'moving.gif': 'is animated',
    }
    assert found.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert re.search(reason, found[name])


def test_files_that_are_too_large_are_refused(page):
    for size, status in ((MAX_MEGABYTES * 10**6, 200), (MAX_MEGABYTES * 10**6 + 1, 413)):
        files = {'files': ('large.png', bytes(size))}
        assert requests.post(f'{page.url}/gradio_api/upload', files=files, timeout=HANGS).status_code == status


def test_deleted_results_are_reported(client, page, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / 'gone.png')
    restore(client, tmp_path / 'gone.png')
    (result,) = page.temporary.rglob('output/gone.png')
    result.unlink()
    with pytest.raises(Exception, match='The image cannot be shown: it cannot be read'):
        client.predict(0, api_name='/show')


def test_no_image_is_an_error(client):
    with pytest.raises(Exception, match='Choose an image'):
        restore(client)


def test_the_page_connects_only_to_this_machine(page):
    port = int(page.url.rpartition(':')[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.2', port), timeout=5).close()
    response = requests.get(page.url, timeout=HANGS)
    assert response.headers['Content-Security-Policy'].startswith("default-src 'self'")
    style = requests.get(f'{page.url}/theme.css', timeout=HANGS).text
    assert '--' in style and not re.search(r'(url\(|@import)\W*https?:', style)
    asked = page.connections.read_text().splitlines()
    assert all('127.0.0.1' in line or 'localhost' in line for line in asked), asked


def test_the_files_of_a_session_are_deleted_when_it_ends(page, photo, tmp_path):
    """A session ends when the browser closes its heartbeat stream."""
    before = set(page.temporary.rglob('restored.zip'))
    Image.fromarray(photo).save(tmp_path / 'photo.png')
    client = open_client(page, False)
    restore(client, tmp_path / 'photo.png', api_name='/restore_batch')
    (left,) = set(page.temporary.rglob('restored.zip')) - before
    stream = f'{page.url}/gradio_api/heartbeat/{client.session_hash}'
    with requests.get(stream, stream=True, timeout=HANGS) as response:
        next(response.iter_content(1))
    deadline = time.monotonic() + HANGS
    while left.parent.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left.parent.exists()
    client.close()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--port', 'TAKEN'], 'cannot listen on 127.0.0.1, port'),
        (['--port', '70000'], 'cannot listen on 127.0.0.1, port 70000'),
        (['--host', '203.0.113.1'], 'cannot listen on 203.0.113.1, port 7860'),  # an address reserved for documentation
        (['-w', 'missing.pth'], 'missing.pth: there is no such weights file'),
    ],
)
def test_invalid_arguments_are_reported(options, message, page, capsys):
    taken = page.url.rpartition(':')[2]
    assert main(['app', *(taken if option == 'TAKEN' else option for option in options)]) == 2
    output = capsys.readouterr()
    assert output.err.startswith('hifacegan app: ') and message in output.err
    assert output.out == ''


def test_ctrl_c_during_a_batch_deletes_all_files(page, client, tmp_path):
    """This must be the last test, because it stops the server."""
    Image.fromarray(data.astronaut()[:400, :400]).save(tmp_path / 'photo.jpg')
    files = [tmp_path / 'photo.jpg'] * 6
    working = client.submit(*arguments(files), api_name='/restore_batch')
    table, archive = next(iter(working))
    assert len(table['data']) < len(files) and archive is None
    page.process.send_signal(signal.SIGINT)
    output, errors = page.process.communicate(timeout=HANGS)
    assert (page.process.returncode, output, errors) == (130, '', '')
    assert not list(page.temporary.iterdir())
