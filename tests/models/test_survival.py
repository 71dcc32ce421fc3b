"""Tests of trainings through the host's command that are killed, stopped by a signal, or run out of disk space."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
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
    wait_for_iterations,
)


def kill(process) -> None:
    """Kill a training and its data workers, as a crash of the machine would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    ('kills', 'iterations', 'workers'),
    [
        (3, 26, 1),
        pytest.param(20, 180, 0, marks=pytest.mark.heavy),
        pytest.param(20, 180, 1, marks=pytest.mark.heavy),
    ],
)
def test_training_killed_at_random_moments_equals_uninterrupted_training(
    kills, iterations, workers, small_lmdb, tmp_path
):
    dice = random.Random(kills + workers)
    options = {
        'datasets__train__num_worker_per_gpu': workers,
        'datasets__train__dataset_enlarge_ratio': 5,  # 15 iterations an epoch
        'logger__save_checkpoint_freq': 1,
        'val__val_freq': 4,
        'train__keep_last': 2,
        'train__keep_best': 'psnr',
        'train__scheduler__end_iter': iterations,
    }
    for folder in ('killed', 'uninterrupted'):
        (tmp_path / folder).mkdir()
    command = [*TRAIN, '--auto_resume', *small(small_lmdb, iterations, **options)]
    killed, output, reached = tmp_path / 'killed', tmp_path / 'output', 0
    tally = []
    for number in range(kills):
        process = start(command, killed, output)
        if number % 5 == 4:  # sometimes kill it before the first iteration
            time.sleep(dice.uniform(0, 8))
        else:
            wait_for_iterations(process, output, dice.randint(1, 7))
            time.sleep(dice.uniform(0, 0.3))
        assert process.poll() is None, output.read_text()
        kill(process)
        before, reached = reached, check_checkpoints(killed / NAME)
        assert reached >= before
        tally.append(reached)
        assert len(list((killed / NAME).glob('training_states/[0-9]*.state'))) <= 5  # newest, best, incomplete
    print(f'Newest complete checkpoint after each of {kills} kills: {tally}')
    assert 0 < reached < iterations
    run(command, killed)
    run(command, tmp_path / 'uninterrupted')
    assert_same_weights(killed / NAME, tmp_path / 'uninterrupted' / NAME, 1e-5)
    states = [
        torch.load(tmp_path / folder / NAME / f'training_states/{iterations}.state')
        for folder in ('killed', 'uninterrupted')
    ]
    assert states[0]['best_metric_results'] == states[1]['best_metric_results']
    assert states[0]['schedulers'] == states[1]['schedulers']
    assert not list((killed / NAME).glob('*/.*'))  # temporary files


@pytest.mark.parametrize(
    ('number', 'to', 'status'),
    [
        pytest.param(signal.SIGTERM, 'group', 0, marks=pytest.mark.heavy),  # Slurm also signals the data workers
        (signal.SIGINT, 'group', 130),  # and so do terminals
        pytest.param(signal.SIGHUP, 'process', 129, marks=pytest.mark.heavy),
    ],
)
def test_a_signal_writes_a_checkpoint_and_the_training_can_be_resumed(number, to, status, small_lmdb, tmp_path):
    options = {'logger__save_checkpoint_freq': 1900, 'val__val_freq': 1900, 'datasets__train__num_worker_per_gpu': 1}
    output = tmp_path / 'output'
    process = start([*TRAIN, *small(small_lmdb, 2000, **options)], tmp_path, output)
    wait_for_iterations(process, output, 1)
    {'process': os.kill, 'group': os.killpg}[to](process.pid, number)
    assert process.wait(timeout=HANGS) == status, output.read_text()
    stopped_at = check_checkpoints(tmp_path / NAME)
    assert f'{number.name} at iteration {stopped_at}: saving' in output.read_text()
    resumed = run([*TRAIN, '--auto_resume', *small(small_lmdb, stopped_at + 1)], tmp_path)
    assert list(logged(resumed)) == [stopped_at + 1]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A small temporary file system."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=200m', 'tmpfs', folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f'cannot mount a file system: {mounted.stderr.strip()}')
    yield folder
    subprocess.run(['umount', folder], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk completely; return the file that fills it."""
    filler = disk / 'filler'
    with filler.open('ab', buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


@pytest.mark.heavy
def test_training_continues_on_a_full_disk_and_saves_again_later(small_disk, small_lmdb, tmp_path):
    iterations, output = 60, tmp_path / 'output'
    overrides = small(small_lmdb, iterations, val__val_freq=10, val__save_img=True, train__keep_last=2)
    process = start([*TRAIN, *overrides], small_disk, output)
    wait_for_iterations(process, output, 5)
    filler = fill(small_disk)
    while not all(message in output.read_text() for message in ('No checkpoint at', 'TensorBoard cannot be written')):
        assert process.poll() is None, output.read_text()
        time.sleep(0.05)
        fill(small_disk)  # also the space of deleted incomplete checkpoints
    failed = int(re.search(r'No checkpoint at iteration (\d+): .*Training continues', output.read_text())[1])
    assert 2 <= check_checkpoints(small_disk / NAME) < failed
    filler.unlink()
    assert process.wait(timeout=HANGS) == 0, output.read_text()
    assert list(logged(output.read_text())) == list(range(1, iterations + 1))
    assert re.search(r'visualization/.* cannot be written .*Training continues', output.read_text())
    assert check_checkpoints(small_disk / NAME) == iterations
    run([*TRAIN, *overrides], tmp_path)
    assert_same_weights(small_disk / NAME, tmp_path / NAME, 1e-5)
    assert not list((small_disk / NAME).glob('*/.*'))
