"""Tests of the page of a comparison in Chromium: contents, sorting, sliders, keyboard."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from itertools import count

import cv2
import numpy as np
import pytest
from conftest import HANGS
from skimage import data

from hifacegan_plugin.compare.comparison import Comparison
from hifacegan_plugin.compare.folder import Folder
from hifacegan_plugin.compare.image_sets import ImageSet
from hifacegan_plugin.compare.page import write_page
from hifacegan_plugin.compare.results import Figure, Results, Row
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.metrics.building import build_metrics
from hifacegan_plugin.schema.comparison import Page

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
FLAGS = (
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-sync',
    '--disable-background-networking',
    '--disable-component-update',
    '--hide-scrollbars',
    '--window-size=1100,1400',
)


class Browser:
    """Chromium, controlled through its debugging pipe with JSON messages (Chrome DevTools Protocol)."""

    def __init__(self, executable, profile):
        to_browser, self.requests = os.pipe()
        self.answers, from_browser = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]

        def connect():
            for end, number in zip(ends, (3, 4)):  # the file descriptors that the browser uses
                os.dup2(end, number)

        self.process = subprocess.Popen(
            [executable, *FLAGS, f'--user-data-dir={profile}', '--remote-debugging-pipe'],
            preexec_fn=connect,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        os.close(to_browser)
        os.close(from_browser)
        os.set_blocking(self.answers, False)
        self.numbers, self.unread, self.session = count(1), b'', None
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']

    def call(self, method, **parameters):
        message = {'id': next(self.numbers), 'method': method, 'params': parameters}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.requests, json.dumps(message).encode() + b'\0')
        end = time.monotonic() + HANGS
        while time.monotonic() < end:
            try:
                self.unread += os.read(self.answers, 1 << 16)
            except BlockingIOError:
                time.sleep(0.01)
            *messages, self.unread = self.unread.split(b'\0')
            for answer in map(json.loads, messages):
                if answer.get('id') == message['id']:
                    assert 'error' not in answer, answer
                    return answer['result']
        raise TimeoutError(method)

    def open(self, page):
        self.call('Page.navigate', url=page.as_uri())
        end = time.monotonic() + HANGS
        while self('document.readyState') != 'complete' or not self('location.href').endswith(page.name):
            assert time.monotonic() < end
            time.sleep(0.05)
        loaded = 'Promise.all([...document.images].filter(i => !i.hidden).map(i => i.decode())).then(() => true)'
        assert self(loaded)

    def __call__(self, script):
        """Run a script in the page and return its value."""
        answer = self.call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def press(self, key, times=1):
        codes = {'Tab': 9, 'Enter': 13, 'ArrowLeft': 37, 'ArrowRight': 39, 'ArrowDown': 40}
        for _ in range(times):
            about = {'key': key, 'code': key, 'windowsVirtualKeyCode': codes[key]}
            if key == 'Enter':
                about['text'] = '\r'
            self.call('Input.dispatchKeyEvent', type='keyDown', **about)
            self.call('Input.dispatchKeyEvent', type='keyUp', **about)

    def drag(self, start, end):
        for kind, (x, y) in [('mousePressed', start), ('mouseMoved', end), ('mouseReleased', end)]:
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', buttons=1, clickCount=1)

    def screenshot(self, box):
        clip = {**box, 'scale': 1}
        image = self.call('Page.captureScreenshot', clip=clip)['data']
        return cv2.imdecode(np.frombuffer(base64.b64decode(image), np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)

    def close(self):
        self.session = None
        os.write(self.requests, b'{"id": 0, "method": "Browser.close"}\0')
        self.process.wait(HANGS)
        os.close(self.requests)
        os.close(self.answers)


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f'no browser: none of {", ".join(NAMES)} is on the path (Debian: apt-get install chromium)')
    browser = Browser(executable, tmp_path_factory.mktemp('profile'))
    yield browser
    browser.close()


def make_page(path, page=Page(quality=101), label='bright <b>&'):  # noqa: B008
    """Make a page of two images and three restorers: one returns the image, one brightens it, one failed."""
    folder = Folder(path.parent)
    images = ['x', 'y']
    truth = {'x': data.astronaut()[:200, 100:400], 'y': data.coffee()[:200, :300]}
    made = {'truth': 1.0, 'plain': 0.25, label: 0.75}
    for name in images:
        for which, factor in made.items():
            write_png(folder.image('set', which, name), (truth[name] * factor).astype(np.uint8))
    restorers = {'plain': {'type': 'input'}, 'failed': {'type': 'input'}, label: {'type': 'input'}}
    metrics = {'PSNR': {'type': 'calculate_psnr', 'crop_border': 0}, 'LPIPS': {'type': 'calculate_lpips'}}
    rows = [
        Row(
            'plain',
            2,
            2,
            {'PSNR': Figure(9.5, 9, 10, 2)},
            {'PSNR': {'x': 9.0, 'y': 10.0}, 'LPIPS': {}},
            0,
            None,
            None,
            1.5,
            0.0,
        ),
        Row('failed', 0, 2, {}, {'PSNR': {}, 'LPIPS': {}}, error='no <weights>'),
        Row(
            label,
            2,
            2,
            {'PSNR': Figure(20, 19, 21, 2), 'LPIPS': Figure(0.1, 0.1, 0.1, 2)},
            {'PSNR': {'x': 19.0, 'y': 21.0}, 'LPIPS': {'x': 0.1, 'y': 0.1}},
            1_320_000,
            2.5,
            [200, 300],
            11.0,
            70.0,
        ),
    ]
    comparison = Comparison('a & b', {}, restorers, metrics, page)  # labels that need escaping
    tables = [(ImageSet('set', {}, 'source', images, 'content', []), rows)]
    results = Results(comparison, build_metrics(metrics), tables, {'device': 'a <machine>'}, ['failed: no <weights>'])
    write_page(path, results, folder)
    return truth


@pytest.fixture(scope='module')
def page(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp('page') / 'page.html'
    truth = make_page(path)
    browser.open(path)
    return truth


def order(browser):
    return browser('[...document.querySelectorAll("tbody th")].map(cell => cell.firstChild.textContent)')


def test_the_page_is_self_contained(tmp_path):
    make_page(tmp_path / 'page.html')
    text = (tmp_path / 'page.html').read_text()
    assert not [word for word in ('http:', 'https:', '//cdn', 'src="', 'href=', '@import', 'url(') if word in text]
    assert '<b>' not in text and '<weights>' not in text and '<machine>' not in text
    assert '$' not in text.replace('${', '')


def test_the_size_of_the_page_is_limited(tmp_path):
    sizes = {}
    for name, options in {
        'all': Page(),
        'one': Page(images=1),
        'small': Page(max_side=64),
        'poor': Page(quality=30),
        'none': Page(images=0),
    }.items():
        make_page(tmp_path / 'page.html', options)
        sizes[name] = (tmp_path / 'page.html').stat().st_size
    assert max(sizes, key=sizes.get) == 'all'
    assert sizes['none'] < 12_000 < sizes['small'] < sizes['one'] < 0.7 * sizes['all']


def test_the_page_shows_all_values(browser, page):
    assert browser('document.title') == 'a & b'
    cells = browser('[...document.querySelectorAll("tbody tr")].map(row => [...row.cells].map(cell => cell.innerText))')
    assert cells[2][:4] == ['bright <b>&', '2/2', '20.00\n[19.00, 21.00]', '0.1000\n[0.1000, 0.1000]']
    assert cells[1][0].split('\n') == ['failed', 'no <weights>'] and cells[1][2] == '–'
    assert 'Left out (1)' in browser('document.body.innerText')
    assert browser('[...document.querySelectorAll("td.best")].map(cell => cell.dataset.value)') == ['20', '0.1']
    assert browser('document.documentElement.scrollWidth <= innerWidth')


@pytest.mark.parametrize(
    ('column', 'clicks', 'expected'),
    [
        ('PSNR', 1, ['bright <b>&', 'plain', 'failed']),  # best first; missing values always last
        ('PSNR', 2, ['plain', 'bright <b>&', 'failed']),
        ('restorer', 1, ['bright <b>&', 'failed', 'plain']),
        ('ms', 1, ['plain', 'bright <b>&', 'failed']),
    ],
)
def test_a_click_on_a_header_sorts(browser, page, column, clicks, expected):
    browser('for (const th of document.querySelectorAll("thead th")) th.removeAttribute("aria-sort")')
    for _ in range(clicks):
        browser(f'[...document.querySelectorAll("thead button")].find(b => b.innerText.startsWith("{column}")).click()')
    assert order(browser) == expected
    assert browser('document.querySelectorAll("[aria-sort]").length') == 1


BOX = """(() => { const b = document.querySelectorAll(".pair")[%d].getBoundingClientRect();
return {x: Math.round(b.x + scrollX), y: Math.round(b.y + scrollY), width: b.width, height: b.height}; })()"""


def left_share(browser, truth, number=0):
    """Return the share of the width with the left image in a screenshot; check that the rest shows the right one."""
    image = browser.screenshot(browser(BOX % number))
    assert image.shape == truth.shape
    left, right = ((truth * factor).astype(np.uint8).astype(int) for factor in (0.25, 0.75))
    is_left = np.abs(image - left).sum((0, 2)) < np.abs(image - right).sum((0, 2))
    share = is_left.mean()
    edge = round(share * image.shape[1])
    for side, expected in [(np.s_[:, : max(edge - 8, 0)], left), (np.s_[:, edge + 8 :], right)]:
        assert np.median(np.abs(image[side] - expected[side])) <= 1  # the border may be at a fraction of a pixel
    return share


def test_the_slider_moves_the_line(browser, page):
    browser('document.querySelectorAll(".pair input")[0].blur(); scrollTo(0, 0)')
    assert left_share(browser, page['x']) == pytest.approx(0.5, abs=0.02)
    box = browser(BOX % 0)
    middle = box['y'] + box['height'] / 2
    browser.drag((box['x'] + box['width'] / 2, middle), (box['x'] + 0.2 * box['width'], middle))
    assert left_share(browser, page['x']) == pytest.approx(0.2, abs=0.03)
    assert left_share(browser, page['y'], 1) == pytest.approx(0.5, abs=0.02)  # sliders are independent


def test_the_page_can_be_used_by_keyboard(browser, page):
    browser('document.activeElement.blur(); scrollTo(0, 0)')
    focused = 'document.activeElement.getAttribute("aria-label") || document.activeElement.innerText'
    stops = []
    for _ in range(20):
        browser.press('Tab')
        stops.append(browser(focused))
        if stops[-1].startswith('set: x'):
            break
    assert any(stop.startswith('PSNR') for stop in stops) and stops[-1] == 'set: x: share of plain beside bright <b>&'
    before = int(browser('document.activeElement.value'))
    browser.press('ArrowRight', 10)
    assert left_share(browser, page['x']) == pytest.approx((before + 10) / 100, abs=0.02)

    browser('[...document.querySelectorAll("thead button")].find(b => b.innerText.startsWith("PSNR")).focus()')
    was = order(browser)
    browser.press('Enter')
    assert order(browser) != was


def test_any_two_restorers_can_be_compared(browser, page):
    def choose(which, value):
        browser(
            f'{{ const select = document.getElementById("{which}"); select.value = "{value}"; '
            'select.dispatchEvent(new Event("change")) }'
        )

    choose('left', 'truth')
    choose('right', 'failed')
    caption = browser('document.querySelector("figcaption").innerText')
    assert 'failed: no image' in caption and 'truth' in caption
    choose('right', 'plain')
    assert 'PSNR 9.00' in browser('document.querySelector("figcaption").innerText')
    choose('zoom', '2')
    assert browser(BOX % 0)['width'] == 600
