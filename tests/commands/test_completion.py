"""Tests of completion in bash."""

import os
import pty
import shutil
import subprocess
import time

import pytest
from conftest import HANGS

from hifacegan_plugin.__main__ import COMMANDS, main


@pytest.fixture(scope='module')
def script(tmp_path_factory):
    """The completion script, in a folder with an image."""
    folder = tmp_path_factory.mktemp('completion')
    with pytest.MonkeyPatch.context() as patch, (folder / 'script').open('w') as output:
        patch.setattr('sys.stdout', output)
        assert main(['completion']) == 0
    (folder / 'photograph.png').touch()
    return folder / 'script'


@pytest.fixture
def complete_in_bash(script, tmp_path):
    """A function that types into bash in the folder of the script and returns the words of the completed command."""
    if shutil.which('bash') is None:
        pytest.skip('there is no bash')
    words, draft, start = tmp_path / 'words', tmp_path / 'draft', tmp_path / 'start'
    start.write_text(f"""source {script}\nhifacegan() {{ printf '%s\\n' "$@" > {draft}; mv {draft} {words}; }}\n""")

    def enter(typed: str) -> list[str]:
        keyboard, terminal = pty.openpty()
        with subprocess.Popen(
            ['bash', '--noprofile', '--rcfile', start, '-i'],
            cwd=script.parent,
            env={'PATH': os.environ['PATH'], 'TERM': 'dumb', 'HOME': str(tmp_path)},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        ) as bash:
            os.close(terminal)
            os.write(keyboard, f'{typed}\n'.encode())
            deadline = time.monotonic() + HANGS
            while not words.exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            bash.kill()
        os.close(keyboard)
        return words.read_text().splitlines()

    return enter


@pytest.mark.parametrize(
    ('typed', 'words'),
    [
        ('hifacegan verif\t', ['verify-lmdb']),
        ('hifacegan restore --engi\topenv\t', ['restore', '--engine', 'openvino']),
        ('hifacegan restore -i photog\t', ['restore', '-i', 'photograph.png']),
        ('hifacegan init faces --degr\tmosa\t', ['init', 'faces', '--degradation', 'mosaic16x']),
        ('hifacegan lmdb --engi\t', ['lmdb', '--engi']),  # an option of another command
    ],
)
def test_completion_of_commands_options_choices_and_files(typed, words, complete_in_bash):
    assert complete_in_bash(typed) == words


def test_completion_knows_the_options_of_every_command(script):
    text = script.read_text()
    for name in (name for group in COMMANDS.values() for name in group):
        assert f'"{name} "*" -"*) words="-h --help' in text
