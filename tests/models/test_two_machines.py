"""Tests of training on two machines, simulated by two connected network namespaces with a shared folder."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import HANGS
from host_training import (
    NAME,
    TRAIN,
    assert_same_weights,
    check_checkpoints,
    logged,
    run,
    small,
    start,
    write_sgd_options,
)

ADDRESSES = ('10.77.0.1', '10.77.0.2')
CABLE = 'cable'


def ip(*arguments: str) -> None:
    subprocess.run(['ip', *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """Names of two network namespaces that are connected only to each other."""
    names = [f'machine{number}_{os.getpid()}' for number in (0, 1)]
    try:
        try:
            for name in names:
                ip('netns', 'add', name)
            ip('link', 'add', CABLE, 'netns', names[0], 'type', 'veth', 'peer', 'name', CABLE, 'netns', names[1])
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f'cannot make network namespaces: {getattr(error, "stderr", error)}')
        for name, address in zip(names, ADDRESSES, strict=True):
            ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', CABLE)
            for device in (CABLE, 'lo'):
                ip('-n', name, 'link', 'set', device, 'up')
        yield names
    finally:
        for name in names:
            subprocess.run(['ip', 'netns', 'delete', name], check=False, capture_output=True)


def by_torchrun(number: int, folder: Path) -> list[str]:
    """Return the beginning of the command that starts the process of a machine with torchrun."""
    return [
        'env',
        f'GLOO_SOCKET_IFNAME={CABLE}',
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--nnodes=2',
        '--nproc_per_node=1',
        '--rdzv_backend=c10d',
        f'--rdzv_endpoint={ADDRESSES[0]}:29500',
        '--rdzv_id=test',
        f'--rdzv_conf=is_host={1 - number}',
        f'--local_addr={ADDRESSES[number]}',  # the machines have no host names
    ]


def by_slurm(number: int, folder: Path) -> list[str]:
    """Return the beginning of a command that starts the process of a machine in the environment of Slurm's srun."""
    scontrol = folder / 'scontrol'
    scontrol.write_text(f'#!/bin/sh\nprintf "{ADDRESSES[0]}\\n{ADDRESSES[1]}\\n"\n')
    scontrol.chmod(0o755)
    return [
        'env',
        f'GLOO_SOCKET_IFNAME={CABLE}',
        f'SLURM_PROCID={number}',
        'SLURM_NTASKS=2',
        'SLURM_NODELIST=machine[0-1]',
        f'PATH={folder}{os.pathsep}{os.environ["PATH"]}',
        sys.executable,
    ]


@pytest.mark.heavy
@pytest.mark.parametrize(('start_by', 'launcher'), [(by_torchrun, 'pytorch'), (by_slurm, 'slurm')])
def test_training_on_two_machines_equals_training_in_one_process(start_by, launcher, machines, small_lmdb, tmp_path):
    options = write_sgd_options(tmp_path)
    one, two = tmp_path / 'one', tmp_path / 'two'

    def overrides(batch: int) -> list[str]:
        return small(
            small_lmdb,
            10,
            datasets__train__batch_size_per_gpu=batch,
            network_g__preset='paper',
            network_g__norm='syncbatch',
            val__val_freq=5,
            logger__save_checkpoint_freq=5,
        )

    for folder in (one, two):
        folder.mkdir()
    processes, outputs = [], []
    try:
        for number, machine in enumerate(machines):
            outputs.append(tmp_path / f'output{number}')
            command = [
                'ip',
                'netns',
                'exec',
                machine,
                *start_by(number, tmp_path),
                '-m',
                'basicsr.train',
                '-opt',
                options,
                '--launcher',
                launcher,
                *overrides(2),
            ]
            processes.append(start(command, two, outputs[-1]))
        for process, output in zip(processes, outputs, strict=True):
            assert process.wait(timeout=HANGS) == 0, output.read_text()
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    statistics = subprocess.check_output(['ip', '-n', machines[0], '-s', '-j', 'link', 'show', CABLE])
    assert json.loads(statistics)[0]['stats64']['rx']['bytes'] > 10**7  # gradients of ten iterations
    first, second = (output.read_text() for output in outputs)
    assert 'World size (gpu number): 2' in first
    assert list(logged(first)) == list(range(1, 11))
    assert not logged(second)  # only the first process logs
    assert check_checkpoints(two / NAME) == 10
    run([*TRAIN[:2], 'basicsr.train', '-opt', options, *overrides(4)], one)
    assert_same_weights(two / NAME, one / NAME, 1e-4)
