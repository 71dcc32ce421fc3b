"""Many processes without a GPU."""

import os
import socket
import subprocess
import sys

import pytest


@pytest.mark.parametrize('ending', ['', 'raise SystemExit', 'raise ValueError("on purpose")'])
def test_a_process_leaves_its_group_unless_it_ends_with_an_error(ending):
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
