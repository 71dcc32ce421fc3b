"""Tests of ``hifacegan app`` in Chromium, with Playwright."""

import re
import shutil
import signal
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import HANGS
from PIL import Image
from png_files import png_bomb
from served_page import serve_page
from skimage import data

from hifacegan_plugin.__main__ import main

playwright = pytest.importorskip('playwright.sync_api')
pytest.importorskip('gradio')
CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
pytestmark = [pytest.mark.heavy, pytest.mark.skipif(CHROMIUM is None, reason='needs Chromium')]

MEMORY = 1  # the server's memory limit for an image, in GiB


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    served = serve_page(tmp_path_factory.mktemp('app'), '--memory', str(MEMORY))
    yield served
    served.process.kill()
    served.process.communicate()


@pytest.fixture
def browser_page(page):
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        browser_page = browser.new_page(viewport={'width': 1200, 'height': 1100})
        browser_page.set_default_timeout(1000 * HANGS)
        browser_page.requested = []
        browser_page.on('request', lambda request: browser_page.requested.append(request.url))
        browser_page.goto(page.url)
        yield browser_page
        browser.close()


@pytest.fixture
def photo():
    """A photograph with noise."""
    astronaut = data.astronaut()
    noise = np.random.default_rng(0).normal(0, 20, astronaut.shape)
    return np.clip(astronaut + noise, 0, 255).astype(np.uint8)


def restore(browser_page, *files: Path) -> None:
    """Upload files to the first tab and press its button."""
    browser_page.locator('input[type=file]').first.set_input_files(files)
    for file in files:
        browser_page.locator(f'a[href$="/{file.name}"]').wait_for()
    browser_page.get_by_role('button', name='Restore', exact=True).click()


def hidden_share(browser_page) -> float:
    """Return how much of the restored image the slider hides, in per cent of its width."""
    style = browser_page.get_by_test_id('imageslider-image').last.get_attribute('style')
    return float(re.search(r'clip-path: inset\(0(?:px)? 0(?:px)? 0(?:px)? ([\d.]+)%', style)[1])


def test_an_image_is_restored_compared_and_downloaded(browser_page, page, photo, tmp_path):
    exif = Image.Exif()
    exif[0x0110] = 'A camera'
    Image.fromarray(photo).save(tmp_path / 'astronaut.jpg', quality=95, exif=exif)
    restore(browser_page, tmp_path / 'astronaut.jpg')
    images = browser_page.get_by_test_id('imageslider-image')
    images.last.wait_for()
    browser_page.wait_for_function('[...document.images].every(image => image.complete && image.naturalWidth)')
    assert [image.evaluate('image => image.naturalWidth') for image in images.all()] == [512, 512]

    hidden = hidden_share(browser_page)
    handle = browser_page.get_by_test_id('slider').bounding_box()
    at = handle['x'] + handle['width'] / 2, handle['y'] + handle['height'] / 2
    browser_page.mouse.move(*at)
    browser_page.mouse.down()
    browser_page.mouse.move(at[0] + 100, at[1], steps=5)
    browser_page.mouse.up()
    assert hidden_share(browser_page) > hidden + 5

    with browser_page.expect_download() as download:
        browser_page.locator('a[href*="/output/"]').click()
    assert download.value.suggested_filename == 'astronaut.jpg'
    expected = tmp_path / 'expected.jpg'
    assert main(['restore', '-i', str(tmp_path / 'astronaut.jpg'), '-o', str(expected), '--memory', str(MEMORY)]) == 0
    assert Path(download.value.path()).read_bytes() == expected.read_bytes()

    hosts = {urlsplit(url).hostname for url in browser_page.requested if not url.startswith(('data:', 'blob:'))}
    assert hosts == {'127.0.0.1'}


def test_invalid_images_are_reported(browser_page, photo, tmp_path):
    (tmp_path / 'bomb.png').write_bytes(png_bomb(60_000, 60_000))
    (tmp_path / 'text.png').write_text('no image')
    restore(browser_page, tmp_path / 'bomb.png', tmp_path / 'text.png')
    browser_page.get_by_test_id('toast-text').get_by_text('bomb.png has 60000 x 60000 pixels').wait_for()
    browser_page.get_by_test_id('toast-text').get_by_text('text.png is not an image').wait_for()
    assert (
        browser_page.get_by_role('gridcell', name='is not an image')
        .or_(browser_page.locator('[data-testid^=cell]', has_text='is not an image'))
        .count()
    )


def test_stopping_a_batch_returns_finished_results(browser_page, photo, tmp_path):
    for number in range(9):
        Image.fromarray(np.tile(photo, (2, 2, 1))).save(tmp_path / f'{number}.jpg')
    browser_page.get_by_role('tab', name='Batch').click()
    button = browser_page.get_by_role('button', name='Restore all')
    button.wait_for()
    batch = browser_page.get_by_role('tabpanel')
    batch.locator('input[type=file]').first.set_input_files(sorted(tmp_path.iterdir()))
    batch.locator('a[href$="/8.jpg"]').wait_for()
    button.click()
    batch.locator('[data-testid^=cell]', has_text='restored').first.wait_for()
    browser_page.get_by_role('button', name='Stop').click()
    with browser_page.expect_download() as download:
        browser_page.locator('a[href*="restored.zip"]').click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert names == [f'{number}.jpg' for number in range(len(names))]
    assert 1 <= len(names) < 9


def test_memory_limit_with_twelve_megapixels(browser_page, page, photo, tmp_path):
    def peak() -> int:
        status = Path(f'/proc/{page.process.pid}/status').read_text()
        return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) << 10

    Image.fromarray(photo[:128, :128]).save(tmp_path / 'small.jpg')
    restore(browser_page, tmp_path / 'small.jpg')
    browser_page.locator('a[href*="/output/small.jpg"]').wait_for()
    before = peak()
    Image.fromarray(np.tile(photo, (6, 8, 1))[:3000, :4000]).save(tmp_path / 'large.jpg')
    browser_page.reload()
    restore(browser_page, tmp_path / 'large.jpg')
    browser_page.locator('a[href*="/output/large.jpg"]').wait_for()
    # In addition to --memory: the image and its result, decoded, encoded, and as previews.
    assert peak() - before < (MEMORY << 30) + 12 * 12_000_000
    with browser_page.expect_download() as download:
        browser_page.locator('a[href*="/output/"]').click()
    with Image.open(download.value.path()) as restored:
        assert restored.size == (4000, 3000)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_exit_status_and_cleanup_on_signals(number, tmp_path):
    page = serve_page(tmp_path)
    page.process.send_signal(number)
    output, errors = page.process.communicate(timeout=HANGS)
    assert (page.process.returncode, output, errors) == (128 + number, '', '')
    assert not list(page.temporary.iterdir())
