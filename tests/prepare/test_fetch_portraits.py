"""Tests of data_prep/fetch_portraits.py, with a local server and a few small files instead of portraits."""

import hashlib
import importlib.util
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import REPOSITORY

spec = importlib.util.spec_from_file_location('fetch_portraits', REPOSITORY / 'data_prep/fetch_portraits.py')
command = importlib.util.module_from_spec(spec)
spec.loader.exec_module(command)

NAMES = ('female_00.jpg', 'female_13.jpg', 'male_02.jpg', 'male_53.jpg')
PATHS = ('female/512/0.jpg', 'female/512/13.jpg', 'male/512/2.jpg', 'male/512/53.jpg')


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder with the layout of the repository of portraits; sets its checksums."""
    lines = []
    for name, path in zip(NAMES, PATHS):
        file = tmp_path / 'repository' / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode() * 5000)
        lines.append(f'{hashlib.sha256(file.read_bytes()).hexdigest()}  {name}\n')
    (tmp_path / 'portraits.sha256').write_text(''.join(lines))
    monkeypatch.setattr(command, 'CHECKSUMS', tmp_path / 'portraits.sha256')
    return tmp_path / 'repository'


class Handler(SimpleHTTPRequestHandler):
    """Records the requested paths in ``server.asked``; sends only half of the files in ``server.short``."""

    def do_GET(self):
        self.server.asked.append(self.path[1:])
        super().do_GET()

    def copyfile(self, source, output):
        data = source.read()
        output.write(data[: len(data) // 2] if self.path[1:] in self.server.short else data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(repository):
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(repository))) as server:
        server.asked, server.short = [], set()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server.url = f'http://127.0.0.1:{server.server_port}'
        yield server
        server.shutdown()
        thread.join()


def fetch(capsys, *arguments, status=0):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['fetch_portraits.py', *map(str, arguments)])
        assert command.main() == status
    return capsys.readouterr()


def portraits(folder):
    return {path.name: path.read_bytes() for path in (folder / 'portraits').iterdir()}


def test_download_and_split(server, tmp_path, capsys):
    fetch(capsys, '-o', tmp_path / 'faces', '--url', server.url)
    assert portraits(tmp_path / 'faces') == {name: name.encode() * 5000 for name in NAMES}
    assert (tmp_path / 'faces/train.txt').read_text() == 'female_00.jpg\nmale_02.jpg\n'
    assert (tmp_path / 'faces/test.txt').read_text() == 'female_13.jpg\nmale_53.jpg\n'


def test_only_missing_or_damaged_portraits_are_downloaded(server, tmp_path, capsys):
    fetch(capsys, '-o', tmp_path / 'faces', '--url', server.url)
    (tmp_path / 'faces/portraits/male_02.jpg').write_bytes(b'damaged since')
    server.asked.clear()
    fetch(capsys, '-o', tmp_path / 'faces', '--url', server.url)
    assert server.asked == ['male/512/2.jpg']
    assert portraits(tmp_path / 'faces')['male_02.jpg'] == b'male_02.jpg' * 5000


@pytest.mark.parametrize(
    ('harm', 'message'),
    [
        (lambda server, file: server.short.add('male/512/2.jpg'), 'male/512/2.jpg: cut short after 27,500 bytes'),
        (lambda server, file: file.write_bytes(b'another'), 'male_02.jpg: wrong checksum'),
        (lambda server, file: file.unlink(), 'male/512/2.jpg: cannot be downloaded (File not found)'),
    ],
)
def test_failed_downloads_are_reported_and_can_be_continued(server, repository, tmp_path, capsys, harm, message):
    file = repository / 'male/512/2.jpg'
    whole = file.read_bytes()
    harm(server, file)
    printed = fetch(capsys, '-o', tmp_path / 'faces', '--url', server.url, status=2)
    assert message in printed.err
    assert 'run the same command again to continue' in printed.err
    found = portraits(tmp_path / 'faces')
    assert 'male_02.jpg' not in found
    assert all(data == name.encode() * 5000 for name, data in found.items())
    assert not (tmp_path / 'faces/train.txt').exists()

    server.short.clear()
    file.write_bytes(whole)
    fetch(capsys, '-o', tmp_path / 'faces', '--url', server.url)
    assert portraits(tmp_path / 'faces').keys() == set(NAMES)


def test_without_a_server(repository, tmp_path, capsys):
    printed = fetch(capsys, '-o', tmp_path / 'faces', '--url', 'http://127.0.0.1:1', status=2)
    assert 'cannot be downloaded' in printed.err and '--from' in printed.err


def test_from_a_clone_or_a_folder_of_portraits(repository, tmp_path, capsys):
    fetch(capsys, '-o', tmp_path / 'one', '--from', repository)
    fetch(capsys, '-o', tmp_path / 'two', '--from', tmp_path / 'one/portraits')
    assert portraits(tmp_path / 'one') == portraits(tmp_path / 'two')
    printed = fetch(capsys, '-o', tmp_path / 'three', '--from', tmp_path / 'gone', status=2)
    assert f'--from {tmp_path}/gone: has neither ' in printed.err


def test_the_list_of_checksums():
    names = command.read_checksums()
    assert len(names) == 180
    assert {command.path_in_repository(name).split('/')[0] for name in names} == {'female', 'male'}
    assert sum(name.endswith('3.jpg') for name in names) == 20
    assert not any(name.endswith('7.jpg') for name in names)
