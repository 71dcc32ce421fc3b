"""Tests of the wheel: its commands work without the repository."""

import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import REPOSITORY
from PIL import Image
from skimage import data

from hifacegan_plugin.__main__ import COMMANDS

NAMES = [name for group in COMMANDS.values() for name in group]

PREPARE = """
import hifacegan_plugin
from hifacegan_plugin.__main__ import main

print(hifacegan_plugin.__file__)
for command in (
    'split -i in -o lists --parts all=1',
    'lmdb -i in -o x.lmdb --list lists/all.txt',
    'pairs -i x.lmdb -o pairs --recipe sr4x --jobs 1',
    'verify-lmdb x.lmdb pairs/lq.lmdb --jobs 1',
    'inspect-degradations -i in/a.png -o sheet.png --recipes noise --size 64',
):
    assert main(command.split()) == 0, command
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A folder with the contents of the wheel."""
    place = tmp_path_factory.mktemp('wheel')
    source = place / 'source'
    shutil.copytree(
        REPOSITORY / 'hifacegan_plugin', source / 'hifacegan_plugin', ignore=shutil.ignore_patterns('__pycache__')
    )
    for name in ('setup.py', 'pyproject.toml', 'README.md'):
        shutil.copy(REPOSITORY / name, source)
    build = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '-w', place, source]
    subprocess.run(build, check=True)
    (wheel,) = place.glob('*.whl')
    with zipfile.ZipFile(wheel) as file:
        file.extractall(place / 'installed')
    return place / 'installed'


def run(installed, folder, *arguments):
    command = [sys.executable, *arguments]
    environment = {'PYTHONPATH': str(installed), 'PATH': '', 'HOME': str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_wheel_contains_every_command(installed):
    modules = {path.stem.replace('_', '-') for path in (installed / 'hifacegan_plugin/commands').glob('*.py')}
    assert modules >= set(NAMES)


def test_the_help_lists_every_command_once(installed, tmp_path):
    done = run(installed, tmp_path, '-m', 'hifacegan_plugin', '--help')
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith('  ') and line.split()]
    assert [name for name in listed if name in NAMES] == NAMES


def test_commands_work_without_the_repository(installed, tmp_path):
    (tmp_path / 'in').mkdir()
    for name, image in (('a', data.astronaut()), ('b', data.chelsea())):
        Image.fromarray(image[:96, :128]).save(tmp_path / f'in/{name}.png')
    done = run(installed, tmp_path, '-c', PREPARE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(installed / 'hifacegan_plugin/__init__.py')
    assert 'x.lmdb: 2 images' in done.stdout
    assert {path.name for path in (tmp_path / 'pairs').iterdir()} >= {'lq.lmdb', 'gt.lmdb'}
    assert Image.open(tmp_path / 'sheet.png').width > 64
