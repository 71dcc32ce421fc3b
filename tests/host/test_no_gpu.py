"""Tests of trainings and tests without a GPU."""

import os
import re
import socket
import subprocess
import sys

import pytest
import torch
from conftest import REPOSITORY

from hifacegan_plugin.doctor.training import parse_as_host
from hifacegan_plugin.host.starting import check_options


@pytest.mark.parametrize('ending', ['', 'raise ValueError("on purpose")'])
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
@pytest.mark.parametrize('options', ['hifacegan_demo.yml', 'test_hifacegan_demo.yml'])
def test_missing_gpus_are_reported_before_anything_is_written(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opt, _ = parse_as_host(REPOSITORY / 'options' / options, is_train=not options.startswith('test'))
    message = 'num_gpu: 2, but torch finds 0 GPUs. -> set auto for all GPUs, or 0 for the CPU'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        check_options({**opt, 'num_gpu': 2})
    assert not list(tmp_path.iterdir())
