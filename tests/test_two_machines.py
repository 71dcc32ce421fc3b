"""A training across two machines: two network namespaces, joined by a virtual cable, with a folder that both see."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from host_training import DEMO, NAME, TRAIN, assert_same_weights, check_checkpoints, logged, run, small, start

ADDRESSES = ('10.77.0.1', '10.77.0.2')
CABLE = 'cable'


def ip(*arguments: str) -> None:
    subprocess.run(['ip', *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """Names of two network namespaces that reach each other and nothing else."""
    names = [f'machine{number}_{os.getpid()}' for number in (0, 1)]
    try:
        try:
            for name in names:
                ip('netns', 'add', name)
            ip('link', 'add', CABLE, 'netns', names[0], 'type', 'veth', 'peer', 'name', CABLE, 'netns', names[1])
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f'may not make network namespaces: {getattr(error, "stderr", error)}')
        for name, address in zip(names, ADDRESSES, strict=True):
            ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', CABLE)
            for device in (CABLE, 'lo'):
                ip('-n', name, 'link', 'set', device, 'up')
        yield names
    finally:
        for name in names:
            subprocess.run(['ip', 'netns', 'delete', name], check=False, capture_output=True)


@pytest.mark.heavy
def test_two_machines_do_what_one_process_does(machines, small_lmdb, tmp_path):
    options = tmp_path / 'sgd.yml'  # Adam would blow up the rounding of gradients that are all but zero
    options.write_text(re.sub(r'type: Adam\n( +lr:).*\n.*betas.*', r'type: SGD\n\1 0.05', DEMO.read_text()))
    one, two = tmp_path / 'one', tmp_path / 'two'

    def overrides(batch: int) -> list[str]:
        return small(small_lmdb, 10, datasets__train__batch_size_per_gpu=batch, network_g__norm='syncbatch',
                     val__val_freq=5, logger__save_checkpoint_freq=5)

    for folder in (one, two):
        folder.mkdir()
    processes, outputs = [], []
    try:
        for number, (machine, address) in enumerate(zip(machines, ADDRESSES, strict=True)):
            outputs.append(tmp_path / f'output{number}')
            torchrun = [
                sys.executable, '-m', 'torch.distributed.run', '--nnodes=2', '--nproc_per_node=1', '--rdzv_id=test',
                '--rdzv_backend=c10d', f'--rdzv_endpoint={ADDRESSES[0]}:29500', f'--local_addr={address}',
                f'--rdzv_conf=is_host={1 - number}',  # by its name, this machine is neither of the two
            ]
            command = ['ip', 'netns', 'exec', machine, 'env', f'GLOO_SOCKET_IFNAME={CABLE}', *torchrun]
            command += ['-m', 'basicsr.train', '-opt', options, '--launcher', 'pytorch', *overrides(2)]
            processes.append(start(command, two, outputs[-1]))
        for process, output in zip(processes, outputs, strict=True):
            assert process.wait(timeout=240) == 0, output.read_text()
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    statistics = subprocess.check_output(['ip', '-n', machines[0], '-s', '-j', 'link', 'show', CABLE])
    assert json.loads(statistics)[0]['stats64']['rx']['bytes'] > 10**7  # the gradients of ten iterations
    first, second = (output.read_text() for output in outputs)
    assert 'World size (gpu number): 2' in first
    assert list(logged(first)) == list(range(1, 11))
    assert not logged(second)  # the first process logs
    assert check_checkpoints(two / NAME) == 10
    run([*TRAIN[:2], 'basicsr.train', '-opt', options, *overrides(4)], one)
    assert_same_weights(two / NAME, one / NAME, 1e-4)
