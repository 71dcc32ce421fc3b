"""Tests without fork, `fcntl`, `resource` and some signals, as on Windows; see without_posix/."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from conftest import REPOSITORY
from skimage import data

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.images.databases import open_database

HERE = Path(__file__).parent / 'without_posix'

DATA_WORKERS = """
import sys
import numpy as np
from torch.utils.data import DataLoader
from hifacegan_plugin.data import DegradationDataset

if __name__ == '__main__':
    source = {'dataroot_gt': sys.argv[1], 'io_backend': {'type': 'lmdb'}}
    dataset = DegradationDataset({**source, 'degradation': 'noise', 'gt_size': 64, 'phase': 'train'})
    here = [dataset[index]['lq'] for index in range(len(dataset))]
    there = [batch['lq'][0] for batch in DataLoader(dataset, num_workers=1)]
    assert len(here) == 4 and all(np.array_equal(one, other) for one, other in zip(here, there))
"""

IMPORTS = """
import importlib, pkgutil
import basicsr, hifacegan_plugin

names = [module.name for module in pkgutil.walk_packages(hifacegan_plugin.__path__, 'hifacegan_plugin.')]
for name in names:
    if not name.endswith(('.train', '.test', '.__main__')):
        importlib.import_module(name)
hifacegan_plugin.register()
"""


def run(*arguments: object) -> subprocess.CompletedProcess:
    environment = os.environ | {'PYTHONPATH': f'{HERE}{os.pathsep}{REPOSITORY}'}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def hifacegan(*arguments: object) -> None:
    result = run('-m', 'hifacegan_plugin', *arguments)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope='module')
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('photographs')
    for number in range(4):
        cv2.imwrite(str(folder / f'{number}.png'), data.astronaut()[100 * number :][:96, 200:280, ::-1])
    return folder


def test_sitecustomize_removes_posix_functions():
    result = run('-c', 'import os; os.fork()')
    assert "module 'os' has no attribute 'fork'" in result.stderr
    assert 'import of fcntl halted' in run('-c', 'import fcntl').stderr


def test_all_modules_can_be_imported():
    result = run('-c', IMPORTS)
    assert result.returncode == 0, result.stderr


def test_restored_images_are_the_same_as_with_posix(photographs, tmp_path):
    hifacegan('restore', '-i', photographs, '-o', tmp_path / 'there')
    assert main(['restore', '-i', str(photographs), '-o', str(tmp_path / 'here')]) == 0
    results = [[path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in ('there', 'here')]
    assert results[0] == results[1] and len(results[0]) == 4


def test_databases_with_spawned_processes(photographs, tmp_path):
    there, here = tmp_path / 'there.lmdb', tmp_path / 'here.lmdb'
    hifacegan('lmdb', '-i', photographs, '-o', there, '--size', '72', '--jobs', '2')
    hifacegan('verify-lmdb', there, '--jobs', '2')
    assert main(['lmdb', '-i', str(photographs), '-o', str(here), '--size', '72', '--jobs', '2']) == 0
    for number in range(4):
        assert open_database(there).read(str(number)) == open_database(here).read(str(number)) is not None
    script = tmp_path / 'workers.py'
    script.write_text(DATA_WORKERS)
    result = run(script, there)
    assert result.returncode == 0, result.stderr
