"""Trainings through the host's command that are killed, stopped, starved of disk: what is left, and how they go on."""

import os
import random
import signal
import time

import pytest
import torch
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
    """End a training and its data workers as a crash of the machine would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(('kills', 'iterations', 'workers'), [
    (3, 26, 1),
    pytest.param(20, 180, 0, marks=pytest.mark.heavy),
    pytest.param(20, 180, 1, marks=pytest.mark.heavy),
])
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(kills, iterations, workers, small_lmdb, tmp_path):
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
        if number % 5 == 4:  # now and then before the training begins
            time.sleep(dice.uniform(0, 8))
        else:
            wait_for_iterations(process, output, dice.randint(1, 7))
            time.sleep(dice.uniform(0, 0.3))
        assert process.poll() is None, output.read_text()
        kill(process)
        before, reached = reached, check_checkpoints(killed / NAME)
        assert reached >= before
        tally.append(reached)
        assert len(list((killed / NAME).glob('training_states/[0-9]*.state'))) <= 5  # newest, best, cut short
    print(f'Newest whole checkpoint after each of {kills} kills: {tally}')
    assert 0 < reached < iterations
    run(command, killed)
    run(command, tmp_path / 'uninterrupted')
    assert_same_weights(killed / NAME, tmp_path / 'uninterrupted' / NAME, 1e-5)
    states = [torch.load(tmp_path / folder / NAME / f'training_states/{iterations}.state') for folder in
              ('killed', 'uninterrupted')]
    assert states[0]['best_metric_results'] == states[1]['best_metric_results']
    assert states[0]['schedulers'] == states[1]['schedulers']
    assert not list((killed / NAME).glob('*/.*'))  # no temporary file is left


@pytest.mark.parametrize('to', ['process', 'group'])
def test_sigterm_saves_and_leaves_and_the_rest_can_go_on(to, small_lmdb, tmp_path):
    options = {'logger__save_checkpoint_freq': 1900, 'val__val_freq': 1900, 'datasets__train__num_worker_per_gpu': 1}
    output = tmp_path / 'output'
    process = start([*TRAIN, *small(small_lmdb, 2000, **options)], tmp_path, output)
    wait_for_iterations(process, output, 1)
    {'process': os.kill, 'group': os.killpg}[to](process.pid, signal.SIGTERM)  # slurm sends it to data workers, too
    assert process.wait(timeout=60) == 0, output.read_text()
    stopped_at = check_checkpoints(tmp_path / NAME)
    assert f'SIGTERM at iteration {stopped_at}: saving' in output.read_text()
    resumed = run([*TRAIN, '--auto_resume', *small(small_lmdb, stopped_at + 1)], tmp_path)
    assert list(logged(resumed)) == [stopped_at + 1]
