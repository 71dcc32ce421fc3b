"""Tests of trainings and tests without a GPU."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from conftest import REPOSITORY


@pytest.mark.parametrize('ending', ['', 'raise SystemExit', 'raise ValueError("on purpose")'])
def test_process_groups_are_destroyed_unless_there_is_an_error(ending):
    code = f"""
import atexit
import torch.distributed as dist
atexit.register(lambda: print('group left:', not dist.is_initialized()))
from basicsr.utils.dist_util import init_dist
import hifacegan_plugin
init_dist('pytorch')
assert dist.get_backend() == 'gloo'
{ending}
"""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    alone = {'RANK': '0', 'WORLD_SIZE': '1', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
    result = subprocess.run(
        [sys.executable, '-c', code], env=os.environ | alone, text=True, capture_output=True, check=False
    )
    failed = 'on purpose' in result.stderr
    assert failed == (result.returncode != 0) == ('ValueError' in ending), result.stderr
    assert f'group left: {not failed}' in result.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize(('command', 'options'), [('train', 'hifacegan_demo.yml'), ('test', 'test_hifacegan_demo.yml')])
def test_missing_gpus_are_reported_before_anything_is_written(command, options, tmp_path):
    options = str(REPOSITORY / 'options' / options)
    result = subprocess.run(
        [sys.executable, '-m', f'basicsr.{command}', '-opt', options, '--force_yml', 'num_gpu=2'],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 1
    assert 'num_gpu: 2, but torch finds 0 GPUs: set auto for all GPUs, or 0 for the CPU.' in result.stderr
    assert 'Traceback' not in result.stderr
    assert not list(tmp_path.iterdir())
