"""Tests of file locks between processes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from held_lock import holder

from hifacegan_plugin.system import locks
from hifacegan_plugin.system.locks import hold, lock_file

WITHOUT_POSIX = Path(__file__).parent / 'without_posix'

HOLD = """
import sys
from hifacegan_plugin.system.locks import lock_file

with open(sys.argv[1], 'a+') as file:
    print(lock_file(file), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize('paths', [[], [WITHOUT_POSIX]], ids=['posix', 'windows'])
def test_a_process_holds_a_lock_until_it_ends(tmp_path, paths):
    path = tmp_path / 'journal'
    path.write_text('content')
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(map(str, [*paths, REPOSITORY]))}

    def hold() -> subprocess.Popen:
        command = [sys.executable, '-c', HOLD, path]
        return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    first = hold()
    assert first.stdout.readline() == 'True\n'
    second = hold()
    assert second.communicate('')[0] == 'False\n'
    first.kill()
    first.wait()
    third = hold()
    assert third.communicate('')[0] == 'True\n'
    assert path.read_text() == 'content'


@pytest.mark.parametrize('paths', [[], [WITHOUT_POSIX]], ids=['posix', 'windows'])
def test_a_lock_file_names_its_holder_and_is_removed(tmp_path, paths):
    path = tmp_path / 'folder/.a.lock'
    with holder(path, paths) as (first, said):
        assert said == 'held'
        with holder(path, paths) as (_, said):
            assert said.startswith(f'process {first.pid} on ')
        assert path.exists()
    assert not path.exists()


def test_the_lock_file_of_a_killed_process_can_be_locked(tmp_path):
    (tmp_path / '.a.lock').write_text('process 1 on another machine\n')
    with hold(tmp_path / '.a.lock'):
        assert (tmp_path / '.a.lock').read_text().startswith(f'process {os.getpid()} on ')


def test_a_file_system_without_locks_raises_an_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(locks.fcntl, 'lockf', refuse)
    with open(tmp_path / 'file', 'a+') as file, pytest.raises(OSError, match='No locks available'):
        lock_file(file)
